"""The report of a classifier: probabilities per photo, scores per class, the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch.distributed as dist

from streetlab.datasets.source import Sample
from streetlab.datasets.task_spec import CLASSIFICATION, TASKS
from streetlab.io import files
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.catalogue import Metric
from streetlab.metrics.classification import (
    REPORT_FIELDS,
    calibration_numbers,
    classification_report,
    off_by_two_errors_name,
    report_rows,
    summarize_classification,
)
from streetlab.metrics.expected_precision import (
    Prior,
    expected_precision,
    expected_precision_text,
    expected_precision_title,
)
from streetlab.metrics.predictions import Predictions, most_wrong
from streetlab.metrics.statistics.calibration import (
    adaptive_ece,
    apply_temperature,
    fit_temperature,
    reliability_curve,
)
from streetlab.plots.confusion import confusion_matrix
from streetlab.plots.reliability import Reliability, reliability_diagram
from streetlab.plots.sheets import photo_sheet, prediction_photo
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.tasks.classification import ClassificationTask
from streetlab.training.report import Report

MISCLASSIFIED_FIELDS = ("id", "true", "predicted", "confidence")
_DRAWN_BINS = 10
"""Bins of the reliability diagram; with as many as ECE has, their bars would hide each other."""


class ClassificationReport(Report):
    """predictions.csv, misclassified.csv, report.csv, report.txt and figures; calibration, with val's temperature."""

    spec = TASKS[CLASSIFICATION]

    def __init__(self, trainer: pl.Trainer, task: StreetTask, data: StreetData, record: RunRecord) -> None:
        super().__init__(trainer, task, data, record)
        self.by_split: dict[str, Predictions] = {}

    @classmethod
    def terminal_texts(cls, summary: dict[str, Any]) -> dict[str, str]:
        texts = super().terminal_texts(summary)
        if found := summary.get("expected_precision"):
            texts[expected_precision_title(found)] = expected_precision_text(found)
        return texts

    @classmethod
    def title(cls, metric: Metric, summary: dict[str, Any]) -> str:
        return off_by_two_errors_name(list(summary["per_class"])) if metric.key == "far_errors" else metric.title

    def collect(self, split: str) -> dict[str, dict[str, Any]]:
        assert isinstance(self.task, ClassificationTask)
        self.by_split[split] = collect_predictions(self.task.probabilities, self.data, split)
        return {split: summarize_classification(self.by_split[split], self.task.label_space)}

    def conclude(
        self, numbers: dict[str, dict[str, Any]], shown: str, temperature: float | None, prior: Prior | None
    ) -> None:
        """Fit the temperature on val, measure the reported split under it, and its precision at the prior.

        Val itself is not measured under it: of the photos that it was fitted on it says nothing.
        """
        predictions, fitted_on = self.by_split[shown], "the run's val"
        if val := self.by_split.get("val"):
            temperature, fitted_on = fit_temperature(val.probabilities, val.labels), "val"
        if shown != "val" and temperature is not None:
            calibrated = apply_temperature(predictions.probabilities, temperature)
            numbers[shown] |= {"temperature": temperature, "temperature_from": fitted_on}
            numbers[shown] |= calibration_numbers(calibrated, predictions.labels, "_calibrated")
        if prior is not None:
            numbers[shown]["expected_precision"] = expected_precision(predictions, prior)

    def write(self, metrics: dict[str, Any]) -> None:
        record, shown = self.record, metrics["eval_split"]
        predictions = self.by_split[shown]
        record.write_predictions(self.by_split)
        files.write_text(record.path / "report.txt", classification_report(metrics[shown]))
        files.write_csv(record.path / "report.csv", report_rows(metrics[shown]), REPORT_FIELDS)
        self._write_misclassified(predictions)
        space = self.task.label_space
        self.save_figure("confusion_matrix", confusion_matrix(np.asarray(metrics[shown]["confusion"]), space, shown))
        self._draw_reliability(predictions, shown, metrics[shown].get("temperature"))
        self._draw_most_wrong(predictions, shown)

    def _draw_reliability(self, predictions: Predictions, split: str, temperature: float | None) -> None:
        curves = [_reliability(predictions.probabilities, predictions.labels, "as trained")]
        if temperature is not None:
            calibrated = apply_temperature(predictions.probabilities, temperature)
            curves.append(_reliability(calibrated, predictions.labels, f"temperature {temperature:.2f}"))
        self.save_figure("reliability", reliability_diagram(curves, f"{split}, n = {len(predictions)}"))

    def _write_misclassified(self, predictions: Predictions) -> None:
        wrong = [
            {
                "id": predictions.ids[i],
                "true": predictions.names[predictions.labels[i]],
                "predicted": predictions.names[predictions.predictions[i]],
                "confidence": float(predictions.probabilities[i, predictions.predictions[i]]),
            }
            for i in most_wrong(predictions, len(predictions))
        ]
        files.write_csv(self.record.path / "misclassified.csv", wrong, MISCLASSIFIED_FIELDS)

    def _draw_most_wrong(self, predictions: Predictions, split: str) -> None:
        samples = {sample.id: sample for sample in self.data.samples(split)}
        photos = [
            prediction_photo(
                self.data.source.read(samples[predictions.ids[i]]),
                predictions.ids[i],
                int(predictions.labels[i]),
                int(predictions.predictions[i]),
                float(predictions.probabilities[i, predictions.predictions[i]]),
                self.task.label_space,
            )
            for i in most_wrong(predictions)
        ]
        self.save_figure("most_wrong", photo_sheet(photos, title=f"The most wrong {split} photos"))


def _reliability(probabilities: np.ndarray, labels: np.ndarray, label: str) -> Reliability:
    curve = reliability_curve(probabilities, labels, _DRAWN_BINS)
    return Reliability(
        f"{label}: ECE {adaptive_ece(probabilities, labels):.3f}",
        curve.confidence,
        curve.accuracy,
        curve.interval,
        probabilities.max(axis=1),
    )


def collect_predictions(gathered: tuple[np.ndarray, np.ndarray], data: StreetData, split: str) -> Predictions:
    """The split's predictions in the order of its samples, those of all processes joined."""
    parts = [gathered]
    if dist.is_available() and dist.is_initialized():
        parts = [gathered] * dist.get_world_size()
        dist.all_gather_object(parts, gathered)
    rows = np.concatenate([rows for rows, _ in parts])
    probabilities = np.concatenate([p for _, p in parts])
    order = np.argsort(rows, kind="stable")
    rows, probabilities = rows[order], probabilities[order]
    samples = data.samples(split)
    return most_probable([samples[row] for row in rows], probabilities, data.label_space.names)


def most_probable(samples: Sequence[Sample], probabilities: np.ndarray, names: Sequence[str]) -> Predictions:
    """The class of highest probability for each sample, given (N, K) probabilities."""
    return Predictions(
        ids=[sample.id for sample in samples],
        groups=[sample.group for sample in samples],
        labels=np.array([sample.label for sample in samples]),
        predictions=probabilities.argmax(axis=1),
        probabilities=probabilities,
        names=names,
    )

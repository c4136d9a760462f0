"""The record of a classifier: each photo's probabilities, scores per class, the most wrong photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.distributed as dist

from streetlab.data.datamodule import StreetData
from streetlab.runs import files
from streetlab.runs.classification import (
    REPORT_FIELDS,
    classification_report,
    report_rows,
    summarize_classification,
)
from streetlab.runs.predictions import Predictions, most_wrong
from streetlab.tasks.classification import ClassificationTask
from streetlab.training.report import Report
from streetlab.viz.confusion import confusion_matrix
from streetlab.viz.sheets import photo_sheet, prediction_photo

MISCLASSIFIED_FIELDS = ("id", "true", "predicted", "confidence")


class ClassificationReport(Report):
    """predictions.csv, misclassified.csv, report.csv, report.txt and figures."""

    terminal_rows = (("accuracy", "accuracy"), ("macro-F1", "macro_f1"), ("loss", "loss"))
    class_score = ("F1", "f1")

    def __init__(self, trainer, task, data, record) -> None:
        super().__init__(trainer, task, data, record)
        self.by_split: dict[str, Predictions] = {}

    def collect(self, split: str) -> dict[str, dict[str, Any]]:
        assert isinstance(self.task, ClassificationTask)
        self.by_split[split] = collect_predictions(self.task.probabilities, self.data, split)
        return {split: summarize_classification(self.by_split[split], self.task.label_space)}

    def write(self, metrics: dict[str, Any]) -> None:
        record, shown = self.record, metrics["eval_split"]
        predictions = self.by_split[shown]
        record.write_predictions(self.by_split)
        files.write_text(record.path / "report.txt", classification_report(predictions))
        files.write_csv(record.path / "report.csv", report_rows(metrics[shown]), REPORT_FIELDS)
        self._write_misclassified(predictions)
        space = self.task.label_space
        self.save_figure("confusion_matrix", confusion_matrix(np.asarray(metrics[shown]["confusion"]), space, shown))
        self._draw_most_wrong(predictions, shown)

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
    samples = [data.samples(split)[row] for row in rows]
    return Predictions(
        ids=[sample.id for sample in samples],
        groups=[sample.group for sample in samples],
        labels=np.array([sample.label for sample in samples]),
        predictions=probabilities.argmax(axis=1),
        probabilities=probabilities,
        names=data.label_space.names,
    )

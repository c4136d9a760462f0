"""The base of a task's report: numbers of each evaluated split, files and figures of the record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl
from matplotlib.figure import Figure

from streetlab.datasets.task_spec import TaskSpec
from streetlab.io import files
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.catalogue import Metric, Place, metrics_of
from streetlab.metrics.expected_precision import Prior
from streetlab.plots.curves import training_curves
from streetlab.plots.figure import png
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask


class Report(ABC):
    """Reads the task after each evaluated split, then writes the record's files.

    Args:
        trainer: the one that evaluates.
        task, data: what is evaluated, and on what.
        record: where the files go.
    """

    spec: TaskSpec
    """The task whose numbers are reported."""

    def __init__(self, trainer: pl.Trainer, task: StreetTask, data: StreetData, record: RunRecord) -> None:
        self.trainer, self.task, self.data, self.record = trainer, task, data, record

    @classmethod
    def terminal_texts(cls, summary: dict[str, Any]) -> dict[str, str]:
        """The lines about one split that the terminal shows above those of each class, by their titles."""
        texts = {}
        for metric in metrics_of(cls.spec.name, Place.TERMINAL):
            if metric.key in summary and (metric.trivial is None or summary[metric.key] != metric.trivial):
                texts[cls.title(metric, summary)] = metric_text(metric, summary)
            if metric.key == "loss" and (absent := summary.get("absent_classes")):
                texts["classes without truth"] = ", ".join(absent)
        return texts

    @classmethod
    def title(cls, metric: Metric, summary: dict[str, Any]) -> str:
        """The metric's title in the terminal."""
        return metric.title

    @abstractmethod
    def collect(self, split: str) -> dict[str, dict[str, Any]]:
        """The numbers of the split just evaluated, by their key in metrics.json; called in every process."""

    @abstractmethod
    def write(self, metrics: dict[str, Any]) -> None:
        """Write the files beside metrics.json and the figures; called in the first process, after all splits."""

    def conclude(  # noqa: B027  (most tasks have nothing to do here)
        self, numbers: dict[str, dict[str, Any]], shown: str, temperature: float | None, prior: Prior | None
    ) -> None:
        """Add to the numbers what follows only from all splits together; called in the first process.

        Args:
            numbers: of all tested splits, by their key in metrics.json.
            shown: the split that is reported.
            temperature: fitted on val when the run was trained, for where val was not tested now.
            prior: the share of a class at which its precision is asked for.
        """

    def predict_withheld(self) -> None:  # noqa: B027  (most tasks have nothing to do here)
        """Predict the photos whose truth is withheld; called in every process."""

    def draw_curves(self, metrics: dict[str, Any]) -> None:
        """Draw the training that led to the epoch, which the record must hold."""
        phases = [(phase["name"], phase["first_epoch"]) for phase in metrics["phases"]]
        curves = training_curves(
            self.record.history(),
            phases,
            metrics["objective"]["metric"],
            metrics["best_epoch"],
            title=self.record.name,
        )
        self.save_figure("curves", curves)

    def save_figure(self, name: str, figure: Figure) -> None:
        files.write_bytes(self.record.figures / f"{name}.png", png(figure))


def metric_text(metric: Metric, summary: dict[str, Any]) -> str:
    """A metric as the terminal shows it: with its share in brackets, or `0.0841 → 0.0312` where it was calibrated."""
    value = summary[metric.key]
    if metric.share:
        return f"{value} ({summary[metric.share]:.1%})"
    after = summary.get(metric.calibrated_key)
    return number_text(value) if after is None else f"{number_text(value)} → {number_text(after)}"


def number_text(value: float | None) -> str:
    """A number as the terminal shows it, to four places; a dash for none."""
    return "–" if value is None else f"{value:.4f}"

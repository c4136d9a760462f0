"""What a record says of a tested epoch, whatever the task: the numbers of each split, files, figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl
from matplotlib.figure import Figure

from streetlab.io import files
from streetlab.loading.datamodule import StreetData
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

    terminal_rows: tuple[tuple[str, str], ...]
    """Title and key of the numbers that the terminal shows first."""
    class_score: tuple[str, str]
    """Title and key of the number that the terminal shows for each class."""

    def __init__(self, trainer: pl.Trainer, task: StreetTask, data: StreetData, record: RunRecord) -> None:
        self.trainer, self.task, self.data, self.record = trainer, task, data, record

    @classmethod
    def terminal_texts(cls, summary: dict[str, Any]) -> dict[str, str]:
        """What the terminal shows of one split's numbers before those of each class, by their titles."""
        texts = {title: number_text(summary[name]) for title, name in cls.terminal_rows}
        absent = summary.get("absent_classes")
        return texts | ({"classes without truth": ", ".join(absent)} if absent else {})

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
        """Predict what the data set has without its truth; called in every process."""

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


def number_text(value: float | None) -> str:
    """A number as the terminal shows it, to four places; a dash for none."""
    return "–" if value is None else f"{value:.4f}"

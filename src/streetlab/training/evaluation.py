"""Tests the best epoch once and writes what the run record promises: numbers, predictions, figures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from streetlab.data.datamodule import StreetData
from streetlab.nets.cost import describe
from streetlab.runs import files
from streetlab.runs.classification import (
    REPORT_FIELDS,
    classification_report,
    report_rows,
    summarize_classification,
)
from streetlab.runs.predictions import Predictions, most_wrong
from streetlab.runs.record import RunRecord
from streetlab.tasks.base import CHECKPOINT_KEY
from streetlab.tasks.classification import ClassificationTask
from streetlab.training.build import Experiment
from streetlab.viz.confusion import confusion_matrix
from streetlab.viz.curves import training_curves
from streetlab.viz.figure import png
from streetlab.viz.sheets import photo_sheet, prediction_photo

log = logging.getLogger(__name__)

KEPT_OF_BEST = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", CHECKPOINT_KEY)
MISCLASSIFIED_FIELDS = ("id", "true", "predicted", "confidence")


def evaluate_best(trainer: pl.Trainer, experiment: Experiment, record: RunRecord) -> dict[str, Any]:
    """Load the best epoch, predict val and test, and complete the record.

    Returns:
        what metrics.json holds.
    """
    task = experiment.task
    assert isinstance(task, ClassificationTask)
    best = record.checkpoints / "best.ckpt"
    epoch = _load_best(best, experiment)
    by_split = {}
    losses = {}
    for split, run in (("val", trainer.validate), ("test", trainer.test)):
        (values,) = run(task, datamodule=experiment.data, verbose=False)
        losses[split] = values[f"{split}/loss"]
        by_split[split] = collect_predictions(task.probabilities, experiment.data, split)
    if not trainer.is_global_zero:
        return {}
    _strip(best)
    record.write_predictions(by_split)
    metrics = classification_metrics(experiment, by_split, losses, epoch)
    record.write_metrics(metrics)
    record.write_model(
        describe(experiment.task.network, experiment.data.image_size)
        | {"checkpoint_bytes": best.stat().st_size, "weights": _weights_report(experiment)}
        | experiment.stopwatch.summary()
    )
    test = by_split["test"]
    files.write_text(record.path / "report.txt", classification_report(test))
    files.write_csv(record.path / "report.csv", report_rows(metrics["test"]), REPORT_FIELDS)
    _write_misclassified(record, test)
    _draw(experiment, record, metrics, test)
    return metrics


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


def classification_metrics(
    experiment: Experiment, by_split: dict[str, Predictions], losses: dict[str, float], epoch: int
) -> dict[str, Any]:
    """The contents of metrics.json."""
    task, regime = experiment.task, experiment.regime
    splits = {
        split: {"loss": losses[split]} | summarize_classification(predictions, task.label_space)
        for split, predictions in by_split.items()
    }
    return {
        "task": task.label_space.task,
        "objective": task.objective | {"best": splits["val"][task.objective["metric"]]},
        "best_epoch": epoch,
        "phases": [
            {"name": phase.name, "first_epoch": regime.first_epoch(index) + 1, "epochs": phase.epochs}
            for index, phase in enumerate(regime.phases)
        ],
        "eval_split": "test",
        "label_space": task.label_space.to_dict(),
        **splits,
    }


def _load_best(best: Path, experiment: Experiment) -> int:
    """Load the weights; returns the epoch they are from, counted from 1."""
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    experiment.task.load_state_dict(checkpoint["state_dict"])
    return int(checkpoint["epoch"]) + 1


def _strip(best: Path) -> None:
    """Drop what only resuming needs (optimizer, loops), which triples the file."""
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    kept = {key: checkpoint[key] for key in KEPT_OF_BEST}
    files.write_bytes(best, lambda file: torch.save(kept, file))


def _weights_report(experiment: Experiment) -> dict[str, Any] | None:
    report: Any = getattr(experiment.task.network, "load_report", None)
    return None if report is None else {"path": str(report.path), "sha256": report.sha256, "summary": report.summary()}


def _write_misclassified(record: RunRecord, test: Predictions) -> None:
    wrong = [
        {
            "id": test.ids[i],
            "true": test.names[test.labels[i]],
            "predicted": test.names[test.predictions[i]],
            "confidence": float(test.probabilities[i, test.predictions[i]]),
        }
        for i in most_wrong(test, len(test))
    ]
    files.write_csv(record.path / "misclassified.csv", wrong, MISCLASSIFIED_FIELDS)


def _draw(experiment: Experiment, record: RunRecord, metrics: dict[str, Any], test: Predictions) -> None:
    space = experiment.task.label_space
    phases = [(phase["name"], phase["first_epoch"]) for phase in metrics["phases"]]
    curves = training_curves(
        record.history(), phases, metrics["objective"]["metric"], metrics["best_epoch"], title=record.name
    )
    matrix = confusion_matrix(np.asarray(metrics["test"]["confusion"]), space, title="test")
    samples = {sample.id: sample for sample in experiment.data.samples("test")}
    photos = [
        prediction_photo(
            experiment.source.read(samples[test.ids[i]]),
            test.ids[i],
            int(test.labels[i]),
            int(test.predictions[i]),
            float(test.probabilities[i, test.predictions[i]]),
            space,
        )
        for i in most_wrong(test)
    ]
    sheet = photo_sheet(photos, title="The most wrong test photos")
    for name, figure in (("curves", curves), ("confusion_matrix", matrix), ("most_wrong", sheet)):
        files.write_bytes(record.figures / f"{name}.png", png(figure))

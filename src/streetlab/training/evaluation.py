"""Tests the best epoch once and writes what the run record promises: numbers, predictions, figures."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from streetlab.nets.cost import describe
from streetlab.runs.record import RunRecord
from streetlab.training.build import Experiment
from streetlab.training.checkpoints import epochs_behind, strip
from streetlab.training.report import Report
from streetlab.training.report_classification import ClassificationReport
from streetlab.training.report_segmentation import SegmentationReport

REPORTS: dict[str, type[Report]] = {"classification": ClassificationReport, "segmentation": SegmentationReport}


def evaluate_best(trainer: pl.Trainer, experiment: Experiment, record: RunRecord) -> dict[str, Any]:
    """Load the best epoch, predict val and test, and complete the record.

    Where the truth of test is withheld, val is the split that is reported.

    Returns:
        what metrics.json holds; nothing in processes other than the first.
    """
    task, regime, data = experiment.task, experiment.regime, experiment.data
    best = record.checkpoints / "best.ckpt"
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    task.load_state_dict(checkpoint["state_dict"])
    report = REPORTS[task.task](trainer, experiment, record)
    by_split: dict[str, dict[str, Any]] = {}
    for split in data.splits[1:]:
        evaluate = trainer.validate if split == "val" else trainer.test
        (values,) = evaluate(task, datamodule=data, verbose=False)
        found = report.collect(split)
        found[split] = {"loss": values[f"{split}/loss"]} | found[split]
        by_split |= found
    report.predict_withheld()
    if not trainer.is_global_zero:
        return {}
    strip(best, checkpoint)
    metrics = {
        "task": task.task,
        "objective": task.objective | {"best": by_split["val"][task.objective["metric"]]},
        "best_epoch": epochs_behind(checkpoint),
        "phases": [
            {"name": phase.name, "first_epoch": regime.first_epoch(index) + 1, "epochs": phase.epochs}
            for index, phase in enumerate(regime.phases)
        ],
        "eval_split": data.splits[-1],
        "label_space": task.label_space.to_dict(),
        **by_split,
    }
    record.write_metrics(metrics)
    record.write_model(
        describe(task.network, data.image_size)
        | {"checkpoint_bytes": best.stat().st_size, "weights": _weights_report(experiment)}
        | experiment.stopwatch.summary()
    )
    report.write(metrics)
    return metrics


def _weights_report(experiment: Experiment) -> dict[str, Any] | None:
    report: Any = getattr(experiment.task.network, "load_report", None)
    return None if report is None else {"path": str(report.path), "sha256": report.sha256, "summary": report.summary()}

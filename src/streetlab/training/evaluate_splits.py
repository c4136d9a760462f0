"""Evaluate an epoch on given splits, and write its numbers, predictions and figures into the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from streetlab.checkpoints.metadata import DOMAIN_KEY
from streetlab.checkpoints.read import CHECKPOINT_KEY, epochs_behind
from streetlab.checkpoints.write import strip
from streetlab.loading.datamodule import StreetData
from streetlab.networks.contract import as_network
from streetlab.networks.cost import describe
from streetlab.records.record import RunRecord
from streetlab.tasks.added_metrics import number
from streetlab.tasks.base import StreetTask
from streetlab.training.build import Experiment
from streetlab.training.fit_domain import fit_domain
from streetlab.training.provenance import weights_provenance
from streetlab.training.report import Report
from streetlab.training.report_classification import ClassificationReport
from streetlab.training.report_segmentation import SegmentationReport

REPORTS: dict[str, type[Report]] = {report.spec.name: report for report in (ClassificationReport, SegmentationReport)}

Numbers = dict[str, dict[str, Any]]
"""What was measured, by its key in metrics.json: `val`, `test`, `test_full_resolution`, ..."""


def evaluate_best(
    trainer: pl.Trainer, experiment: Experiment, record: RunRecord, phases: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Load the best epoch, predict val and test, and complete the record.

    Where the truth of test is withheld, val is the split that is reported.

    Args:
        phases: that led to the epoch, see `PhaseSchedule.timeline`; none of a network that was not trained.

    Returns:
        what metrics.json holds; nothing in processes other than the first.
    """
    task, data = experiment.task, experiment.data
    best = record.checkpoints / "best.ckpt"
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    task.load_state_dict(checkpoint["state_dict"])
    report, numbers = evaluate_splits(trainer, task, data, record, data.splits[1:])
    report.predict_withheld()
    if not trainer.is_global_zero:
        return {}
    report.conclude(numbers, data.splits[-1], temperature=None, prior=None)
    further: dict[str, Any] = {"phases": list(phases)}
    domain = fit_domain(trainer, data)
    if domain is not None:
        checkpoint[CHECKPOINT_KEY] = {**checkpoint[CHECKPOINT_KEY], DOMAIN_KEY: domain.to_dict()}
        further[DOMAIN_KEY] = domain.summary()
    strip(best, checkpoint)
    metrics = summarize(task, numbers, data.splits[-1], epochs_behind(checkpoint), **further)
    record.write_status(precision=trainer.precision)
    record.write_metrics(metrics)
    record.write_model(
        describe(task.network, data.image_size)
        | {"checkpoint_bytes": best.stat().st_size, "weights": weights_provenance(as_network(task.network).load_report)}
        | experiment.stopwatch.summary()
    )
    report.write(metrics)
    if phases:
        report.draw_curves(metrics)
    return metrics


def evaluate_splits(
    trainer: pl.Trainer, task: StreetTask, data: StreetData, record: RunRecord, splits: Sequence[str]
) -> tuple[Report, Numbers]:
    """Predict the splits with the task as it is; every process takes its share and gets all the numbers.

    Args:
        record: where the report that is returned will write.
        splits: of `data.splits`, in any order.
    """
    report = REPORTS[task.task](trainer, task, data, record)
    numbers: Numbers = {}
    for split in splits:
        if split == "val":
            (values,) = trainer.validate(task, datamodule=data.evaluating(split), verbose=False)
        else:
            (values,) = trainer.test(task, datamodule=data.evaluating(split), verbose=False)
        found = report.collect(split)
        logged = "val" if split == "val" else "test"
        added = {name: number(values[f"{logged}/{name}"]) for name in task.added_names}
        found[split] = {"loss": values[f"{logged}/loss"]} | found[split] | added
        numbers |= found
    return report, numbers


def summarize(task: StreetTask, numbers: Numbers, eval_split: str, epoch: int, **further: Any) -> dict[str, Any]:
    """Collect the contents of metrics.json.

    Args:
        eval_split: the split that is reported.
        epoch: the one that was tested, counted from 1.
        further: what else there is to say of it.
    """
    val = numbers.get("val", {})
    return {
        "task": task.task,
        "objective": task.objective | {"best": val.get(task.objective["metric"])},
        "best_epoch": epoch,
        **further,
        "eval_split": eval_split,
        "label_space": task.label_space.to_dict(),
        **numbers,
    }

"""Log the best epoch's results to Weights & Biases: numbers, scores, figures, photos, checkpoint."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.errors import UserError
from streetlab.loading.augment import normalize
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.segmentation import image_mious
from streetlab.networks.cam import class_activation
from streetlab.plots.heat import heat_overlay
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.tasks.segmentation import SegmentationTask
from streetlab.training.build import Experiment
from streetlab.training.report_segmentation import predict_mask
from streetlab.training.wandb_logger import RunWandbLogger

log = logging.getLogger(__name__)

_SPLIT = "val"
"""The photos shown are of val: test is looked at once, by numbers."""
_LONGEST_NAME = 128


def log_results(trainer: pl.Trainer, experiment: Experiment, record: RunRecord) -> None:
    """Copy the finished record to the W&B run; nothing where the Trainer has none.

    The network has the best epoch's weights, and the record is complete but for its state.
    """
    logger = next((logger for logger in trainer.loggers if isinstance(logger, RunWandbLogger)), None)
    if logger is None:
        return
    import wandb

    run, metrics = logger.experiment, record.metrics
    run.summary.update(final_numbers(metrics, record.model))
    shown = metrics["eval_split"]
    media: dict[str, Any] = {
        f"{shown}/per_class": _per_class(metrics[shown]),
        f"{shown}/confusion_matrix": _confusion(metrics[shown], metrics["label_space"]["names"], shown),
    }
    media |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted(record.figures.glob("*.png"))}
    if logger.photos:
        pictures = _segmented if isinstance(experiment.task, SegmentationTask) else _explained
        media["photos"] = pictures(experiment.task, experiment.data, record, logger.photos)
    run.log(media)
    if logger.keep_model:
        _keep_checkpoint(run, record, metrics)


def final_numbers(metrics: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of metrics.json and model.json under the names that the runs table sorts by.

    `best_epoch`; `best/…`, of val in that epoch; `test/…` and, with full-resolution masks, `val_full_resolution/…` and
    so on; `model/…`, with the training's minutes.
    """
    numbers = {"best_epoch": metrics["best_epoch"]}
    for split, summary in metrics.items():
        if split.startswith(("val", "test")):
            # `val/…` itself is what was logged epoch by epoch
            numbers |= _scalars(summary, "best" if split == "val" else split)
    return numbers | _scalars(model, "model") | {"model/minutes": model["seconds_total"] / 60}


def _scalars(summary: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}/{name}": value
        for name, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def fixed_choice(ids: Iterable[str], count: int) -> list[str]:
    """`count` of the ids, by the order of their hashes: the same ones whatever the run, its seed and its batches."""
    return sorted(ids, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())[:count]


def _per_class(summary: Mapping[str, Any]) -> Any:
    import wandb

    scores = list(dict.fromkeys(name for row in summary["per_class"].values() for name in row))
    rows = [[name, *(row.get(score) for score in scores)] for name, row in summary["per_class"].items()]
    return wandb.Table(columns=["class", *scores], data=rows)


def _confusion(summary: Mapping[str, Any], names: Sequence[str], split: str) -> Any:
    """W&B's own confusion matrix, from counts: its ready-made function wants one label for each photo or pixel."""
    import wandb

    columns = ("Actual", "Predicted", "nPredictions")
    cells = [
        [truth, said, count]
        for truth, row in zip(names, summary["confusion"], strict=True)
        for said, count in zip(names, row, strict=True)
    ]
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=list(columns), data=cells),
        fields={column: column for column in columns},
        string_fields={"title": f"{split}, n = {summary['n']}"},
    )


def _segmented(task: StreetTask, data: StreetData, record: RunRecord, count: int) -> list[Any]:
    """Photos with the masks of prediction and truth, which W&B lays over them."""
    import wandb

    assert isinstance(task, SegmentationTask)
    confusions = record.confusions(_SPLIT)
    scores = dict(zip(confusions.ids, image_mious(confusions.matrices), strict=True))
    labels = dict(enumerate(task.label_space.names)) | {IGNORE_INDEX: "ignored"}
    rows = _rows(data)
    images = []
    for name in fixed_choice(scores, count):
        pixels, truth = data.cached_pair(_SPLIT, rows[name])
        masks = {"prediction": predict_mask(task, pixels), "truth": truth}
        images.append(
            wandb.Image(
                pixels,
                masks={key: {"mask_data": mask, "class_labels": labels} for key, mask in masks.items()},
                caption=f"{name}: mIoU {scores[name]:.3f}",
            )
        )
    return images


def _explained(task: StreetTask, data: StreetData, record: RunRecord, count: int) -> list[Any]:
    """Photos, each beside its Grad-CAM for the predicted class; one scale of colours for all of them."""
    import wandb

    predictions = record.predictions(_SPLIT)
    position = {name: i for i, name in enumerate(predictions.ids)}
    chosen = fixed_choice(position, count)
    rows = _rows(data)
    pixels = np.stack([data.cached_image(_SPLIT, rows[name]) for name in chosen])
    said = [int(predictions.predictions[position[name]]) for name in chosen]
    images = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(task.device))
    try:
        maps = class_activation(task.network, images, said).numpy()
    except UserError as error:
        log.info("Weights & Biases: photos without Grad-CAM (%s)", error)
        pictures = list(pixels)
    else:
        strength = maps / max(float(maps.max()), np.finfo(np.float32).tiny)
        pictures = [np.hstack([photo, heat_overlay(photo, heat)]) for photo, heat in zip(pixels, strength, strict=True)]
    captions = []
    for name, label in zip(chosen, said, strict=True):
        i = position[name]
        truth, answer = predictions.names[predictions.labels[i]], predictions.names[label]
        captions.append(f"{name}: truth {truth}, predicted {answer} ({predictions.probabilities[i, label]:.0%})")
    return [wandb.Image(picture, caption=text) for picture, text in zip(pictures, captions, strict=True)]


def _rows(data: StreetData) -> dict[str, int]:
    return {sample.id: row for row, sample in enumerate(data.samples(_SPLIT))}


def _keep_checkpoint(run: Any, record: RunRecord, metrics: Mapping[str, Any]) -> None:
    import wandb

    objective = metrics["objective"]
    artifact = wandb.Artifact(
        re.sub(r"[^\w.-]", "-", record.name)[:_LONGEST_NAME],
        type="model",
        metadata={
            "metric": f"val/{objective['metric']}",
            "value": objective["best"],
            "best_epoch": metrics["best_epoch"],
            "config_hash": record.status.get("config_hash"),
        },
    )
    # the file stays where it is and as it is: no second copy in W&B's folders
    artifact.add_file(str(record.checkpoints / "best.ckpt"), policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["best"])

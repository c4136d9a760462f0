"""The metadata of a checkpoint: classes, image size, normalisation, config and training domain, read and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streetlab.checkpoints.read import TrainedWeights
from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.datasets.task_spec import TASKS
from streetlab.datasets.training_domain import TrainingDomain
from streetlab.errors import UserError
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

DOMAIN_KEY = "training_domain"
"""The entry of the metadata, and of metrics.json, for the training domain; runs from before it have none."""


@dataclass(frozen=True)
class Metadata:
    """The metadata that predicting needs besides the network.

    Attributes:
        label_space: the classes.
        image_size: height and width that the network was trained at.
        precision: what the training was asked to compute in.
        data_set: name of the data set that it was trained on; None where the config names none.
        domain: what tells photos that are unlike the training photos; None where none was fitted.
        tested_with: the words with which `predict` sees photos as the run's test did; empty where it does so without.
    """

    label_space: LabelSpace
    image_size: tuple[int, int]
    precision: str
    data_set: str | None = None
    domain: TrainingDomain | None = None
    tested_with: str = ""


def read_metadata(weights: TrainedWeights) -> Metadata:
    """Read the metadata of a checkpoint.

    Raises:
        UserError: something is missing or damaged, or of another kind than streetlab writes.
    """
    try:
        space = weights.label_space
        height, width = (int(side) for side in weights.metadata["image_size"])
        statistics = weights.metadata["normalization"]
        found = [float(value) for key in ("mean", "std") for value in statistics[key]]
        config = weights.metadata["config"]
        precision = str((config.get("trainer") or {}).get("precision", "32-true"))
        data_set = (config.get("dataset") or {}).get("name")
        fitted = weights.metadata.get(DOMAIN_KEY)
        domain = None if fitted is None else TrainingDomain.from_dict(fitted)
        tested_with = _tested_with(config.get("task") or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"checkpoint: what {weights.path} says of itself is damaged ({what})") from None
    if space.task not in TASKS or not 1 <= len(space) <= IGNORE_INDEX:
        raise UserError(
            f"checkpoint: {weights.path} is for {len(space)} classes of '{space.task}'; "
            f"allowed are 1 to {IGNORE_INDEX} of {' or '.join(TASKS)}"
        )
    if min(height, width) < 1:
        raise UserError(f"checkpoint: {weights.path} is for images of {height}x{width}")
    expected = (*IMAGENET_MEAN, *IMAGENET_STD)
    if len(found) != len(expected) or not all(map(math.isclose, found, expected)):
        raise UserError(
            f"checkpoint: {weights.path} was trained on images normalised with {statistics}; streetlab shows networks "
            f"images normalised with ImageNet's mean {list(IMAGENET_MEAN)} and std {list(IMAGENET_STD)}"
        )
    return Metadata(space, (height, width), precision, None if data_set is None else str(data_set), domain, tested_with)


def _tested_with(task: Mapping[str, Any]) -> str:
    """The words of `predict` for the views that a run's best epoch was tested with."""
    views = task.get("test_time") or {}
    scales = list(views.get("scales") or [1.0])
    words = ["flip=true"] if task.get("test_flip") or views.get("flip") else []
    return " ".join([*words, *([f"scales={scales}".replace(" ", "")] if scales != [1.0] else [])])

"""The teacher of a run: another run's best epoch, checked against the data to be learned."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from streetlab.checkpoints.load_network import rebuild_network
from streetlab.checkpoints.read import TrainedWeights, listed, read_weights
from streetlab.datasets.labels import same_names
from streetlab.errors import UserError
from streetlab.loading.datamodule import StreetData
from streetlab.networks.cost import describe
from streetlab.records.identity import other_photos
from streetlab.records.locate import locate_teacher
from streetlab.tasks.distillation import Distillation
from streetlab.training.build import Experiment

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that is never changed.

    Attributes:
        name: of its run's folder.
        network: with the weights of its best epoch, in eval mode on the CPU.
        weights: the checkpoint that they are from.
    """

    name: str
    network: nn.Module
    weights: TrainedWeights

    def about(self) -> dict[str, Any]:
        """The teacher's entry in a taught run's status.json."""
        return {
            "name": self.name,
            "checkpoint": str(self.weights.path.resolve()),
            "sha256": self.weights.sha256,
            "epoch": self.weights.epoch,
        }


def teach(cfg: DictConfig, experiment: Experiment) -> Teacher | None:
    """Let the experiment's network learn from the run that `teacher` names, if it names one.

    Raises:
        UserError: as `read_teacher`; a setting of `distillation` is out of range or not for these networks.
    """
    if not cfg.teacher:
        return None
    teacher, task = read_teacher(cfg.teacher, experiment.data), experiment.task
    if cfg.distillation.kind == "channel" and not task.label_space.spec.per_pixel:
        raise UserError("distillation.kind: 'channel' compares places in an image; one label per photo needs 'pixel'")
    task.learn_from(Distillation(teacher.network, task.network, **cfg.distillation))
    return teacher


def read_teacher(path: str, data: StreetData) -> Teacher:
    """The network of the run at `path`, fit to teach what `data` holds.

    Raises:
        UserError: no such run, or one that was trained for another task, for other classes or in another order, or
            whose network does not take images of the data's size.
    """
    record = locate_teacher(path)
    weights = read_weights(record.checkpoints / "best.ckpt")
    _refuse_other_classes(path, weights, data)
    with torch.random.fork_rng():  # its random weights before the trained ones are nobody else's concern
        network = rebuild_network(weights, trusted=True)
    try:
        cost = describe(network, data.image_size)
    except UserError as error:
        raise UserError(f"teacher: {path}: {error}") from None
    if (note := other_photos(record, data.source.manifest())) is not None:
        log.info("teacher: %s", note)
    teacher = Teacher(record.path.resolve().name, network, weights)
    log.info(
        "teacher %s: epoch %d of %s (%.2f M parameters, %.2f GMACs)",
        teacher.name, weights.epoch, path, cost["parameters"] / 1e6, cost["gmacs"],
    )  # fmt: skip
    return teacher


def _refuse_other_classes(path: str, weights: TrainedWeights, data: StreetData) -> None:
    taught, found = weights.label_space, data.label_space
    if taught.task != found.task:
        raise UserError(f"teacher: {path} learned {taught.spec.labels}, data set {data.source.name} has "
                        f"{found.spec.labels}")  # fmt: skip
    if not same_names(taught.names, found.names):
        order = ", in another order" if set(taught.names) == set(found.names) else ""
        raise UserError(
            f"teacher: {path} learned {len(taught)} classes of {taught.name} ({listed(taught.names)}), data set "
            f"{data.source.name} has {len(found)} of {found.name} ({listed(found.names)}){order}; a teacher's classes "
            "are the student's, in the same order"
        )

"""A trained network and a data set for it, from a run's config and a checkpoint."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from streetlab.data.augment import Augment
from streetlab.data.datamodule import StreetData
from streetlab.data.index.labels import LABEL_SPACES, TASKS, LabelSpace
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.runs.record import RunRecord
from streetlab.tasks.base import CHECKPOINT_KEY, StreetTask
from streetlab.training.build import build_data, build_task
from streetlab.training.checkpoints import epochs_behind, listed

KEPT = ("best", "last")
"""The checkpoints that a run keeps, by the names that `checkpoint=` takes beside a path."""
_NETWORK = "network."


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """A checkpoint that was read.

    Attributes:
        path: its file.
        sha256: of the file, hex.
        epoch: how many epochs it has behind it.
        tensors: the network's, by their keys in its state dict.
        card: what streetlab's checkpoints carry to be used alone: config, label space, normalisation, size.
    """

    path: Path
    sha256: str
    epoch: int
    tensors: dict[str, torch.Tensor]
    card: dict[str, Any]

    @property
    def label_space(self) -> LabelSpace:
        return LabelSpace.from_dict(self.card["label_space"])


def find_checkpoint(run: RunRecord, asked: str) -> Path:
    """The file that `checkpoint=` names: best, last, or a path.

    Raises:
        UserError: there is no such file.
    """
    if asked not in KEPT:
        path = Path(asked).expanduser()
        if not path.is_file():
            raise UserError(f"checkpoint: no file {path} (allowed: best, last, or a file){did_you_mean(asked, KEPT)}")
        return path
    path = run.checkpoints / f"{asked}.ckpt"
    if not path.is_file():
        others = [name for name in KEPT if (run.checkpoints / f"{name}.ckpt").is_file()]
        hint = f"checkpoint={others[0]} is there" if others else "no epoch of it was completed, or its files were moved"
        raise UserError(f"checkpoint: no {path}: {hint}")
    return path


def read_weights(path: Path) -> TrainedWeights:
    """Read a checkpoint of streetlab's, tensors and plain values only.

    Raises:
        UserError: it does not load, or is another kind of file.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"checkpoint: {path} does not load ({first_line(error) or '?'})") from None
    if not isinstance(contents, dict) or not {"epoch", "state_dict", CHECKPOINT_KEY} <= contents.keys():
        raise UserError(
            f"checkpoint: {path} is no checkpoint of a run (it lacks epoch, state_dict or {CHECKPOINT_KEY})"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    tensors = {
        key.removeprefix(_NETWORK): tensor for key, tensor in contents["state_dict"].items() if key.startswith(_NETWORK)
    }
    return TrainedWeights(path, sha256, epochs_behind(contents), tensors, contents[CHECKPOINT_KEY])


def rebuild(config: DictConfig, weights: TrainedWeights) -> tuple[StreetTask, StreetData]:
    """The config's network with trained weights, and the config's data set as it is, without augmentation.

    `model.weights` is not looked at: what training began from may be gone.

    Raises:
        UserError: the data set has other classes than the weights are for, the network other tensors; or anything
            that the config asks for and that cannot be had.
    """
    data = build_data(config, Augment())
    _refuse_other_classes(weights, data)
    if "weights" in config.model:
        config = copy.deepcopy(config)
        config.model.weights = "none"
    task = build_task(config, data.source, weights.card)
    _load(task.network, weights)
    return task, data


def _refuse_other_classes(weights: TrainedWeights, data: StreetData) -> None:
    trained, found = weights.label_space, data.label_space
    if trained.task != found.task:
        raise UserError(f"dataset: {data.source.name} has {TASKS[found.task]}, the run learned {TASKS[trained.task]}")
    if trained.names != found.names:
        same = [name for name, space in LABEL_SPACES.items() if space.names == trained.names]
        hint = f"; dataset.labels={same[0]} maps classes to these where their names allow it" if same else ""
        raise UserError(
            f"dataset: {data.source.name} has {len(found)} classes ({listed(found.names)}), the run learned "
            f"{len(trained)} ({listed(trained.names)}){hint}"
        )


def _load(network: nn.Module, weights: TrainedWeights) -> None:
    own = network.state_dict()
    differing = [
        key
        for key in dict.fromkeys((*own, *weights.tensors))
        if key not in own or key not in weights.tensors or own[key].shape != weights.tensors[key].shape
    ]
    if differing:
        raise UserError(
            f"checkpoint: {weights.path} does not fit the network: {len(differing)} of {len(own)} tensors differ, "
            f"such as {differing[0]}; leave model.* as the run has it"
        )
    network.load_state_dict(weights.tensors)

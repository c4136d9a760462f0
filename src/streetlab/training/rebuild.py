"""A trained network and a data set for it, from a run's config and a checkpoint."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from streetlab.config.targets import locate
from streetlab.data.augment import Augment
from streetlab.data.datamodule import StreetData
from streetlab.data.index.labels import LABEL_SPACES, TASKS, LabelSpace, same_names
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.nets.image_size import check_image_size
from streetlab.runs.record import RunRecord
from streetlab.tasks.base import CHECKPOINT_KEY, StreetTask
from streetlab.training.build import build_data, build_network, build_task
from streetlab.training.checkpoints import epochs_behind, listed
from streetlab.training.elsewhere import build_source

KEPT = ("best", "last")
"""The checkpoints that a run keeps, by the names that `checkpoint=` takes beside a path."""
_NETWORK = "network."
_FITTED = ("img_size", "image_size")
"""Keys of a network that training may add to those of the config, see `training.build.build_network`."""
_OWN = "streetlab.nets."
"""Where the networks are that a checkpoint from elsewhere may name."""


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

    def belong_to(self, run: RunRecord) -> bool:
        """Whether the file is among the run's own checkpoints."""
        return self.path.resolve().is_relative_to(run.checkpoints.resolve())


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
    try:
        tensors = {
            key.removeprefix(_NETWORK): tensor
            for key, tensor in contents["state_dict"].items()
            if key.startswith(_NETWORK) and isinstance(tensor, Tensor)
        }
        epoch = epochs_behind(contents)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {path} is damaged ({first_line(error)})") from None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return TrainedWeights(path, sha256, epoch, tensors, contents[CHECKPOINT_KEY])


def rebuild(config: DictConfig, weights: TrainedWeights, everything: bool = False) -> tuple[StreetTask, StreetData]:
    """The config's network with trained weights, and the config's data set as it is, without augmentation.

    `model.weights` is not looked at: what training began from may be gone. Classes without a folder are no fault.

    Args:
        everything: `test` holds all images of the data set.

    Raises:
        UserError: the data set has other classes than the weights are for, the network other tensors; or anything
            that the config asks for and that cannot be had.
    """
    data = build_data(config, Augment(), build_source(config, weights.label_space, everything))
    _refuse_other_classes(weights, data)
    config = as_built(config, weights)
    if "weights" in config.model:
        config.model.weights = "none"
    task = build_task(config, data.source, weights.card)
    _load(task.network, weights)
    trained = weights.card.get("image_size") or data.image_size
    check_image_size(task.network, data.image_size, (trained[0], trained[1]))
    return task, data


def as_built(config: DictConfig, weights: TrainedWeights) -> DictConfig:
    """A copy of a run's config with the size that its network was fitted to: the images may now be of another."""
    config = copy.deepcopy(config)
    described = weights.card["config"]["model"]
    for key in _FITTED:
        if described.get(key) is not None and config.model.get(key) is None:
            with open_dict(config.model):
                config.model[key] = described[key]
    return config


def rebuild_network(weights: TrainedWeights, *, trusted: bool) -> nn.Module:
    """The network that a checkpoint's own card describes, with its weights, in eval mode on the CPU.

    Args:
        trusted: the file is one of the user's own runs. Others' may name nothing but streetlab's networks: a config
            can name any function, and rebuilding would call it.

    Raises:
        UserError: the card describes no network, another's code or one for another task; the tensors do not fit it.
    """
    try:
        config = weights.card["config"]
        described: Any = config["model"]
        node = {**described, "_partial_": True} | ({"weights": "none"} if "weights" in described else {})
        channels_last = bool((config.get("trainer") or {}).get("channels_last", False))
        label_space = weights.label_space
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"checkpoint: {weights.path} does not say of which network and classes it is") from None
    if not trusted:
        _refuse_foreign_code(node, "model", weights.path)
    try:
        network, _ = build_network(node, label_space)
    except Exception as error:  # whatever a damaged description makes a constructor raise
        raise UserError(
            f"checkpoint: the network that {weights.path} describes cannot be built ({first_line(error)})"
        ) from error
    if getattr(network, "task", label_space.task) != label_space.task:
        raise UserError(
            f"checkpoint: {weights.path} names {node.get('_target_')}, which makes no network for {label_space.task}"
        )
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    _load(network, weights)
    return network.eval()


def _refuse_foreign_code(node: Any, key: str, path: Path) -> None:
    """Raise unless all that a config names lies in `streetlab.nets` under its own name, and is called by keywords."""
    if isinstance(node, Mapping):
        if "_target_" in node and not _is_own(node["_target_"]):
            raise UserError(
                f"checkpoint: {path} is no run's own and its {key}._target_ is {node['_target_']!r}; of such a file "
                f"only networks of {_OWN}* are built"
            )
        if "_args_" in node:
            raise UserError(f"checkpoint: {path} is no run's own and has {key}._args_, which no run writes")
        for name, child in node.items():
            _refuse_foreign_code(child, f"{key}.{name}", path)
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            _refuse_foreign_code(child, f"{key}[{index}]", path)
    elif isinstance(node, str) and "${" in node:
        raise UserError(f"checkpoint: {path} is no run's own and its {key} is {node!r}; a run writes resolved values")


def _is_own(target: object) -> bool:
    """Whether it names a public class or function where that is defined: `streetlab.nets.x.torch.load` is not one."""
    if not isinstance(target, str) or not target.startswith(_OWN) or "._" in target:
        return False
    try:
        found = locate(target)
    except (ImportError, ValueError):
        return False
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}" == target


def _refuse_other_classes(weights: TrainedWeights, data: StreetData) -> None:
    trained, found = weights.label_space, data.label_space
    if trained.task != found.task:
        raise UserError(f"dataset: {data.source.name} has {TASKS[found.task]}, the run learned {TASKS[trained.task]}")
    if not same_names(trained.names, found.names):
        same = [name for name, space in LABEL_SPACES.items() if space.names == trained.names]
        hint = f"; dataset.labels={same[0]} maps classes to these where their names allow it" if same else ""
        raise UserError(
            f"dataset: {data.source.name} has {len(found)} classes ({listed(found.names)}), the run learned "
            f"{len(trained)} ({listed(trained.names)}){hint}"
        )
    data.source.label_space = replace(found, names=trained.names)  # the run's spelling of its classes


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

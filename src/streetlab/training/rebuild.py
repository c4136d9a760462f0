"""Rebuild a trained network and its data set from a run's config and a checkpoint."""

from __future__ import annotations

import copy
from dataclasses import replace

from omegaconf import DictConfig, open_dict

from streetlab.checkpoints.load_network import load_tensors
from streetlab.checkpoints.read import TrainedWeights, listed
from streetlab.datasets.labels import LABEL_SPACES, same_names
from streetlab.errors import UserError
from streetlab.loading.augment import Augment
from streetlab.loading.datamodule import StreetData
from streetlab.networks.image_size import check_image_size
from streetlab.tasks.base import StreetTask
from streetlab.training.build import build_data, build_task
from streetlab.training.elsewhere import build_source

_FITTED = ("img_size", "image_size")
"""Keys of a network that training may add to those of the config, see `networks.build.build_network`."""


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
    task = build_task(config, data.source, weights.metadata)
    load_tensors(task.network, weights)
    trained = weights.metadata.get("image_size") or data.image_size
    check_image_size(task.network, data.image_size, (trained[0], trained[1]))
    return task, data


def as_built(config: DictConfig, weights: TrainedWeights) -> DictConfig:
    """A copy of a run's config with the size that its network was fitted to: the images may now be of another."""
    config = copy.deepcopy(config)
    described = weights.metadata["config"]["model"]
    for key in _FITTED:
        if described.get(key) is not None and config.model.get(key) is None:
            with open_dict(config.model):
                config.model[key] = described[key]
    return config


def _refuse_other_classes(weights: TrainedWeights, data: StreetData) -> None:
    trained, found = weights.label_space, data.label_space
    if trained.task != found.task:
        raise UserError(f"dataset: {data.source.name} has {found.spec.labels}, the run learned {trained.spec.labels}")
    if not same_names(trained.names, found.names):
        same = [name for name, space in LABEL_SPACES.items() if space.names == trained.names]
        hint = f"; dataset.labels={same[0]} maps classes to these where their names allow it" if same else ""
        raise UserError(
            f"dataset: {data.source.name} has {len(found)} classes ({listed(found.names)}), the run learned "
            f"{len(trained)} ({listed(trained.names)}){hint}"
        )
    data.source.label_space = replace(found, names=trained.names)  # the run's spelling of its classes

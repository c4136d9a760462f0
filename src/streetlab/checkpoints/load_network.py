"""Rebuild a network from the metadata and tensors of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streetlab.checkpoints.read import TrainedWeights
from streetlab.config.moved import current_target
from streetlab.config.targets import locate
from streetlab.errors import UserError, first_line
from streetlab.networks.build import build_network
from streetlab.networks.contract import as_network

_OWN = "streetlab.networks."
"""Where the networks are that a checkpoint from elsewhere may name."""


def rebuild_network(weights: TrainedWeights, *, trusted: bool) -> nn.Module:
    """The network that a checkpoint's metadata describe, with its weights, in eval mode on the CPU.

    Args:
        trusted: the file is one of the user's own runs. Others' may name nothing but streetlab's networks: a config
            can name any function, and rebuilding would call it.

    Raises:
        UserError: the metadata describe no network, another's code or one for another task; the tensors do not fit it.
    """
    try:
        config = weights.metadata["config"]
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
    if as_network(network).task != label_space.task:
        raise UserError(
            f"checkpoint: {weights.path} names {node.get('_target_')}, which makes no network for {label_space.task}"
        )
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    load_tensors(network, weights)
    return network.eval()


def _refuse_foreign_code(node: object, key: str, path: Path) -> None:
    """Raise unless all that a config names lies in `streetlab.networks` by its own name and is called by keywords."""
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
    """Tell a public name where it is defined from any other: `streetlab.networks.x.torch.load` is not one."""
    if isinstance(target, str):
        target = current_target(target)
    if not isinstance(target, str) or not target.startswith(_OWN) or "._" in target:
        return False
    try:
        found = locate(target)
    except (ImportError, ValueError):
        return False
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}" == target


def load_tensors(network: nn.Module, weights: TrainedWeights) -> None:
    """Copy a checkpoint's tensors into a network, in place.

    Raises:
        UserError: some are missing, unexpected or of another shape.
    """
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

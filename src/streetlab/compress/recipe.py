"""The config of the new run: a model node that rebuilds the pruned network, and the fine-tuning settings."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from streetlab.compress.options import Options
from streetlab.compress.prune import Pruning, fits
from streetlab.config import instantiate, plain
from streetlab.networks.contract import adopt, as_network
from streetlab.networks.pruned import Size, pruned

_TARGET = f"{pruned.__module__}.{pruned.__qualname__}"


def pruned_model(model: Mapping[str, Any], channels: Mapping[str, Size], pruning: Pruning) -> dict[str, Any]:
    """The model node of a run after pruning. What was pruned before is described as one pruning, and told as two.

    Args:
        model: the run's, plain Python.
        channels: the layers that are narrower now.
    """
    how: dict[str, Any] = asdict(pruning)
    if model["_target_"] == _TARGET:
        network, channels = model["network"], {**model["channels"], **channels}
        how["after"] = model["pruning"]
    else:
        network = {**model, "_partial_": True} | ({"weights": "none"} if "weights" in model else {})
    return {
        "_target_": _TARGET,
        "_partial_": True,
        "network": network,
        "pruning": how,
        "weights": "none",
        "channels": dict(channels),
    }


def rebuilt(model: Mapping[str, Any], network: nn.Module, num_classes: int, channels_last: bool) -> nn.Module:
    """The network as the node makes it, with the weights of the one that was pruned, in eval mode on the CPU.

    Raises:
        UserError: the node does not describe that network.
    """
    narrow: nn.Module = instantiate(model)(num_classes=num_classes)
    adopt(narrow, as_network(network).task)
    fits(narrow, network)
    narrow.load_state_dict(network.state_dict())
    return narrow.to(memory_format=torch.channels_last if channels_last else torch.preserve_format).eval()


def tuned_config(options: Options, model: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """The new run's config, plain Python.

    It is the recorded one with another network, and with one phase in which all of it is trained: by the optimizer
    and on the schedule of the run's last phase.

    Args:
        weights: the file that training goes on from.
    """
    config = copy.deepcopy(plain(options.config))
    config |= {"model": {**model, "weights": weights}, "resume": "auto", "output": None}
    if options.epochs:
        last = config["regime"]["phases"][-1]
        scale = last.get("lr_scale", 1.0)
        phase = {
            "name": "tune",
            "epochs": options.epochs,
            "train": ["all"],
            "lr_scale": {name: factor * options.lr_scale for name, factor in scale.items()}
            if isinstance(scale, Mapping)
            else scale * options.lr_scale,
        }
        phase |= {key: last[key] for key in ("optimizer", "scheduler") if key in last}
        config["regime"] |= {"phases": [phase], "epochs": None, "max_epochs": None}
    return config

"""Optimizers of a phase: groups of parameters with their learning rates, fused kernels where they are at hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer

from streetlab.networks.groups import layer_depths, select_parameters

_IMPLEMENTATION_KEYS = ("fused", "foreach", "capturable", "differentiable")
"""Keywords with which a config chooses among the implementations itself."""


def parameter_groups(
    network: nn.Module,
    train: Sequence[str],
    lr: float,
    lr_scale: float | Mapping[str, float] = 1.0,
    layer_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Group the trained parameters by their learning rates.

    Args:
        train: names of what is trained, see `select_parameters`.
        lr: the learning rate.
        lr_scale: factor on it; or factors by name, 1 where none is named.
        layer_decay: a further factor for each layer of the network that lies above a parameter's own, the head being
            the highest (BEiT, Bao et al. 2022; ELECTRA, Clark et al. 2020); None has no such groups.

    Returns:
        what an optimizer takes: `params`, `lr` and a `name`, in each group.
    """
    scales = lr_scale if isinstance(lr_scale, Mapping) else {}
    remaining = dict(select_parameters(network, train))
    parts: list[tuple[str, float, dict[str, nn.Parameter]]] = []
    for name, scale in scales.items():
        chosen = {key: remaining.pop(key) for key, _ in select_parameters(network, [name]) if key in remaining}
        parts.append((name, scale, chosen))
    parts.append(("+".join(train), lr_scale if not isinstance(lr_scale, Mapping) else 1.0, remaining))
    if layer_decay is not None:
        parts = [layer for part in parts for layer in _by_layer(network, *part, layer_decay)]
    return [
        {"params": list(chosen.values()), "lr": lr * scale, "name": name} for name, scale, chosen in parts if chosen
    ]


def _by_layer(
    network: nn.Module, name: str, scale: float, chosen: Mapping[str, nn.Parameter], decay: float
) -> list[tuple[str, float, dict[str, nn.Parameter]]]:
    depths = layer_depths(network)
    layers: dict[int, dict[str, nn.Parameter]] = {}
    for key, parameter in chosen.items():
        layers.setdefault(depths[key], {})[key] = parameter
    return [(f"{name}, layer -{depth}", scale * decay**depth, layers[depth]) for depth in sorted(layers)]


def build_fused(
    build: Callable[..., Optimizer], groups: Sequence[Mapping[str, Any]], may_fuse: bool = True
) -> Optimizer:
    """The optimizer of these groups, fused where that is at hand and the config does not choose.

    On the CPU that halves the time of Adam's step and makes no difference to SGD's, which stays as it is (measured,
    see experiments/speed). The state dict is the same, so that either resumes from the other's.

    Args:
        build: a partial of an optimizer class.
        groups: with `params`, all on one device.
        may_fuse: False builds what the config says and no more.
    """
    if not may_fuse or not isinstance(build, partial) or any(key in build.keywords for key in _IMPLEMENTATION_KEYS):
        return build(groups)
    kind = build.func
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    known = isinstance(kind, type) and "fused" in inspect.signature(kind).parameters
    if not known or not devices <= {"cuda", "cpu"} or (kind is SGD and "cpu" in devices):
        return build(groups)
    return build(groups, fused=True)

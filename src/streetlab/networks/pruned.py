"""Build a pruned network: fewer channels in its layers than its own description gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from streetlab.errors import UserError, did_you_mean
from streetlab.networks.weights import load_weights, weights_source

Size = int | str
"""How wide a layer is: `OUTxIN` channels of a convolution or a linear layer, the channels of a normalisation."""


def pruned(
    num_classes: int,
    network: Callable[..., nn.Module],
    channels: Mapping[str, Size],
    weights: str | Path | None = "none",
    pruning: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the network that `network` makes, with some of its layers narrower.

    It keeps the original's class, parameter groups and other attributes, for nothing in them counts channels; its
    state dict has the original's keys.

    Args:
        num_classes: as every network takes it.
        network: makes the original from `num_classes`; without weights, since these would be cut.
        channels: dotted name of a layer → its `Size`, for every layer that differs from the original's.
        weights: `none` (the original's initial values, cut), or a file of the pruned network.
        pruning: how the channels were chosen. Nothing is made of it: it tells runs apart.

    Raises:
        UserError: no such layer, or a size that it cannot have; an unfit file.
    """
    narrow: Any = network(num_classes=num_classes)
    resize(narrow, channels)
    source = weights_source(weights, ())
    narrow.load_report = load_weights(narrow, source) if source != "none" else None
    return narrow


def sizes(network: nn.Module) -> dict[str, Size]:
    """The width of each layer that has a `Size`, by its dotted name."""
    found = {name: _size(layer) for name, layer in network.named_modules()}
    return {name: size for name, size in found.items() if size is not None}


def resize(network: nn.Module, channels: Mapping[str, Size]) -> None:
    """Cut layers to their first channels, in place.

    Raises:
        UserError: no layer of that name has a size; one that is not within the layer's own.
    """
    layers = {name: layer for name, layer in network.named_modules() if _size(layer) is not None}
    for name, size in channels.items():
        if name not in layers:
            raise UserError(
                f"model.channels: the network has no layer '{name}' with channels{did_you_mean(name, layers)}"
            )
        layer = layers[name]
        own = [int(number) for number in str(_size(layer)).split("x")]
        text = str(size)
        wanted = [int(number) for number in text.split("x")] if re.fullmatch(r"\d+(x\d+)?", text) else []
        if len(wanted) != len(own) or any(not 1 <= new <= old for new, old in zip(wanted, own, strict=True)):
            raise UserError(f"model.channels.{name}: {size} is no size within the layer's own, {_size(layer)}")
        if not _cut(layer, *wanted):
            raise UserError(f"model.channels.{name}: {size} cannot be parted into the layer's groups")


def _size(layer: nn.Module) -> Size | None:
    if isinstance(layer, _ConvNd):
        return f"{layer.out_channels}x{layer.in_channels}"
    if isinstance(layer, nn.Linear):
        return f"{layer.out_features}x{layer.in_features}"
    if isinstance(layer, _NormBase):
        return layer.num_features
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
        return layer.normalized_shape[0]
    return None


def _cut(layer: Any, width: int, inputs: int = 0) -> bool:
    """Give the layer its new size; False where its groups do not allow it."""
    weight: tuple[int, ...] = (width,)
    if isinstance(layer, _ConvNd):
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        groups = inputs if depthwise else layer.groups
        if width % groups or inputs % groups:
            return False
        layer.out_channels, layer.in_channels, layer.groups = width, inputs, groups
        transposed = isinstance(layer, _ConvTransposeNd)
        weight = (inputs, width // groups) if transposed else (width, inputs // groups)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = width, inputs
        weight = (width, inputs)
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (width,)
    elif isinstance(layer, nn.GroupNorm):
        if width % layer.num_groups:
            return False
        layer.num_channels = width
    else:
        layer.num_features = width
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            values = _first(parameter, weight if name == "weight" else (width,))
            setattr(layer, name, nn.Parameter(values, requires_grad=parameter.requires_grad))
        for name, buffer in layer.named_buffers(recurse=False):
            if buffer.ndim:  # the count of batches has no channels
                setattr(layer, name, _first(buffer, (width,)))
    return True


def _first(values: Tensor, counts: tuple[int, ...]) -> Tensor:
    return values[tuple(slice(count) for count in counts)].clone(memory_format=torch.contiguous_format)

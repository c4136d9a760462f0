"""Shared code of segmentation networks: output, padding of image sizes that do not fit, and the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streetlab.datasets.task_spec import SEGMENTATION
from streetlab.errors import UserError, did_you_mean
from streetlab.networks.groups import Groups
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.networks.weights import load_weights


class SegmentationOutput(NamedTuple):
    """Scores of each class at each pixel of the images given, before any softmax.

    Args:
        logits: (B, K, H, W), float32.
        aux: the same of an auxiliary head, which helps the training alone; None where there is none.
    """

    logits: Tensor
    aux: Tensor | None = None


def pad_to_multiple(images: Tensor, multiple: int, least: int = 0) -> Tensor:
    """(B, C, H, W) with its last row and column repeated until both sides are multiples of `multiple`.

    With `least`, which is such a multiple, until they are that long as well.

    It grows at the bottom and on the right, so that `logits[..., :H, :W]` are those of the images given.
    Zeros in their place would be a grey bar (the images are normalised) with an edge that the network sees.
    """
    height, width = images.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if least:
        bottom, right = max(bottom, least - height), max(right, least - width)
    # an exported graph must not depend on the size of the example that it was traced with
    if torch.compiler.is_exporting() or bottom or right:
        return F.pad(images, (0, right, 0, bottom), mode="replicate")
    return images


def crop(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The upper left `size` of (B, K, H, W), which undoes `pad_to_multiple`."""
    height, width = size
    if torch.compiler.is_exporting():
        # a slice is a view or a copy depending on the example's size, and torch.export would ask that of every image;
        # negative padding is one copy, where gathering rows and columns takes a quarter of a small network's time
        return F.pad(logits, (0, width - logits.shape[-1], 0, height - logits.shape[-2]))
    # each slice of a side costs the backward pass a copy of all logits
    if width != logits.shape[-1]:
        logits = logits[..., :width]
    return logits if height == logits.shape[-2] else logits[..., :height, :]


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """(B, K, h, w) to (B, K, *size), bilinear with align_corners=False, in float32 at the least.

    Half precision would round neighbouring pixels to the same scores, and argmax would take the first of them.
    """
    return F.interpolate(_in_float32(logits), size=tuple(size), mode="bilinear", align_corners=False)


def at_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """`resize_logits` that computes nothing where they have that size already."""
    if not torch.compiler.is_exporting() and logits.shape[-2:] == tuple(size):
        return _in_float32(logits)
    return resize_logits(logits, size)


class UpsampleInFloat32(nn.Upsample):
    """torch's layer of that name, in float32 at the least, for the reason that `resize_logits` gives."""

    def forward(self, logits: Tensor) -> Tensor:
        return super().forward(_in_float32(logits))


def _in_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def check_options(num_classes: int, dropout: float) -> None:
    """Check what every segmentation network takes.

    Raises:
        UserError: no class, or a probability outside 0 to below 1.
    """
    if num_classes < 1:
        raise UserError(f"a segmentation network needs at least one class, got num_classes={num_classes}")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"model.dropout={dropout}: allowed is 0 up to below 1")


def check_choice(key: str, value: object, allowed: Sequence[str]) -> None:
    """Check a choice among names.

    Raises:
        UserError: `value` is not one of `allowed`; it names the nearest.
    """
    if value not in allowed:
        near = did_you_mean(str(value), allowed) or ";"
        raise UserError(f"model.{key}={value}: no such {key}{near} allowed: {', '.join(allowed)}")


def check_flag(key: str, value: object) -> None:
    """Check a choice between true and false.

    Raises:
        UserError: `value` is neither.
    """
    if not isinstance(value, bool):
        raise UserError(f"model.{key}: '{value}' is not true or false")


def module_groups(module: nn.Module, path: str) -> Groups:
    """A group for each child of `module` that has parameters: `layer4` → `backbone.layer4`."""
    return {
        name: (f"{path}.{name}",)
        for name, child in module.named_children()
        if next(child.parameters(), None) is not None
    }


def fulfil_contract(
    network: Any, name: str, num_classes: int, groups: Groups, file: str | Path | None, parts: Sequence[str]
) -> nn.Module:
    """Load `file` into a segmentation network and set the attributes that the rest of streetlab asks for.

    `task`, `name`, `num_classes`, `parameter_groups` (see `streetlab.networks.groups`), `normalization` (mean and
    standard deviation of the images it takes) and `load_report` (a `LoadReport`, or None without a file).

    Args:
        groups: with `head` and `backbone`, which share no parameter and together hold every one.
        parts: submodules that also take a file of their own, see `load_weights`.

    Raises:
        UserError: the file does not fit.
    """
    network.task = SEGMENTATION
    network.name = name
    network.num_classes = num_classes
    network.parameter_groups = groups
    network.normalization = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    network.load_report = load_weights(network, file, parts) if file is not None else None
    return network

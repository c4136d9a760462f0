"""Choose the layer that an activation map is read from and convert its output to feature maps (B, C, h, w)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.networks.groups import declared_groups

_PLANAR = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
"""Layers whose channels come first even inside a network that keeps them last."""
_LIKE_THE_IMAGE = 0.1
"""How far the logarithm of a token grid's aspect ratio may be from the image's."""


def find_layer(network: nn.Module, asked: str | None = None) -> str:
    """The dotted name of the layer whose output is made into maps.

    Unless one is asked for, it is the deepest features that still have places:

    - what a network declares as `cam_layer`, as the segmentation networks do: the encoder's last features, the
      only ones from which a region's surroundings are seen too (Vinogradova et al. 2020, arXiv:2002.11434);
    - else the last stage of timm's `feature_info`; where that is a transformer's block, its `norm1`: behind the
      last attention the classifier reads the class token alone, so that no gradient reaches the patches there
      (as pytorch-grad-cam advises for ViT);
    - else the last convolution outside the head, in the order of registration.

    Raises:
        UserError: no such layer, with the nearest names; or none is known for this network and one must be named.
    """
    owner = type(network).__name__
    if asked is None:
        name = _declared(network) or _last_convolution(network)
        if name is None:
            parts = ", ".join(_rows(network))
            raise UserError(
                f"layer: {owner} declares no cam_layer and has no convolution before its head; name a layer with "
                f"layer=, such as one of {parts}"
            )
        return f"{name}.norm1" if hasattr(network.get_submodule(name), "norm1") else name
    names = [name for name, _ in network.named_modules() if name]
    if asked in names:
        return asked
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    parts = ", ".join(name for name, _ in network.named_children())
    hint = f"did you mean {' or '.join(near)}?" if near else f"its parts are {parts}"
    raise UserError(f"layer: {owner} has no layer '{asked}'; {hint}")


def is_guessed(network: nn.Module) -> bool:
    """Check that `find_layer` takes the last convolution because the network declares no better layer."""
    return _declared(network) is None and _last_convolution(network) is not None


def _last_convolution(network: nn.Module) -> str | None:
    head = declared_groups(network).get("head", ()) if getattr(network, "parameter_groups", None) else ()
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not any(f"{name}.".startswith(f"{part}.") for part in head)
    ]
    return names[-1] if names else None


def _rows(network: nn.Module) -> list[str]:
    """The network's parts, and the elements of those that are rows of layers."""
    rows: list[str] = []
    for name, child in network.named_children():
        elements = [inner for inner, _ in child.named_children()] if isinstance(child, nn.Sequential) else []
        rows += [f"{name}.{inner}" for inner in elements] or [name]
    return rows


def _declared(network: nn.Module) -> str | None:
    declared: Any = getattr(network, "cam_layer", None)
    if declared is None:
        info: Any = getattr(network, "feature_info", None)
        declared = info[-1]["module"] if info else None
    # a few of timm's networks name features that are no modules
    return declared if declared in dict(network.named_modules()) else None


@dataclass(frozen=True)
class FeatureLayer:
    """A layer of a network as a source of feature maps.

    Args:
        network: the network.
        name: the layer's dotted name in it.
        size: height and width of the images that the network is given.
    """

    network: nn.Module
    name: str
    size: tuple[int, int]

    @property
    def module(self) -> nn.Module:
        return self.network.get_submodule(self.name)

    @property
    def covered(self) -> tuple[int, int]:
        """Height and width in pixels that the maps cover: at the bottom and right, padding is among it."""
        multiple: Any = getattr(self.network, "multiple", 1)
        least: int = getattr(self.network, "least", 0)
        embed: Any = getattr(self.network, "patch_embed", None)
        if getattr(embed, "dynamic_img_pad", False):
            multiple = embed.patch_size
        steps = multiple if isinstance(multiple, Sequence) else (multiple, multiple)
        height, width = (max(least, math.ceil(side / step) * step) for side, step in zip(self.size, steps, strict=True))
        return height, width

    def channel_axis(self, output: object) -> int:
        """The axis of the output that holds channels.

        Raises:
            UserError: the output is neither feature maps nor a grid of tokens.
        """
        if isinstance(output, Tensor) and output.ndim == 4:
            last = getattr(self.network, "output_fmt", "NCHW") == "NHWC" and not isinstance(self.module, _PLANAR)
            return 3 if last else 1
        if isinstance(output, Tensor) and output.ndim == 3 and self._grid(output.shape[1]) is not None:
            return 2
        found = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        owner = type(self.network).__name__
        raise UserError(f"layer: '{self.name}' of {owner} makes no feature map (its output is {found}); name another")

    def to_maps(self, output: Any) -> Tensor:
        """The layer's output as (B, C, h, w); a copy, since the next layer may work in place.

        Tokens (B, T, C) lose those in front that stand for no place (class, register) and become their grid.

        Raises:
            UserError: as `channel_axis`.
        """
        axis = self.channel_axis(output)
        if axis == 2:
            grid = self._grid(output.shape[1])
            assert grid is not None  # channel_axis has looked
            output = output[:, output.shape[1] - grid[0] * grid[1] :].unflatten(1, grid)
            axis = 3
        return output.permute(0, 3, 1, 2).clone() if axis == 3 else output.clone()

    def _grid(self, tokens: int) -> tuple[int, int] | None:
        """Rows and columns of a row of tokens: the patch embedding's, else those with the image's proportions."""
        counts = [tokens - int(getattr(self.network, "num_prefix_tokens", 0) or 0), tokens]
        embed: Any = getattr(self.network, "patch_embed", None)
        if hasattr(embed, "dynamic_feat_size"):
            rows, columns = embed.dynamic_feat_size(self.size)
            if rows * columns in counts:
                return rows, columns
        aspect = math.log(self.size[0] / self.size[1])
        for count in counts:
            grids = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
            errors = [abs(math.log(rows / columns) - aspect) for rows, columns in grids]
            if errors and min(errors) < _LIKE_THE_IMAGE:
                return grids[errors.index(min(errors))]
        return None

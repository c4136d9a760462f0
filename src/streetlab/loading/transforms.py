"""Further transforms of training images, after ours: torchvision's v2 transforms, or classes of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import Image, Mask

from streetlab.config import check_node, instantiate
from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.errors import UserError, first_line
from streetlab.loading.transfer import to_device_async
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

_DRAW = 18
"""The place among the numbers of `augment.draws` that seeds an image's transforms."""


class Transforms:
    """Transforms by name, applied to one image after the other, each under a seed of its own.

    What an image gets follows from its uniform numbers, hence from seed, epoch and sample alone, whatever the batch,
    the number of workers and the place where a run was resumed. A transform takes an `Image` `(3, H, W)` float32 from
    0 to 1; with masks also a `Mask` `(2, H, W)`, which it may move but not relabel. It draws from torch's generators.

    Args:
        transforms: called in this order.
        size: height and width of the images.
        masks: each pixel has a label.

    Raises:
        UserError: a transform does not take such an image, or gives one of another size.
    """

    def __init__(self, transforms: Mapping[str, Callable[..., Any]], size: tuple[int, int], masks: bool) -> None:
        self.transforms = dict(transforms)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            parts = _parts(torch.rand(3, *size), torch.zeros(size, dtype=torch.int64) if masks else None)
            for name, transform in self.transforms.items():
                try:
                    parts = _apply(name, transform, parts)
                except UserError:
                    raise
                except Exception as error:
                    kinds = "an image (3, H, W)" + " and a mask (2, H, W)" * masks
                    raise UserError(f"{_named(name, transform)} does not take {kinds}: {first_line(error)}") from error

    def __call__(
        self, images: Tensor, uniforms: np.ndarray, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Transform a batch.

        Args:
            images: `(B, 3, H, W)` float32, ImageNet-normalised.
            uniforms: `(B, 24)`, see `augment.draws`.
            masks: `(B, H, W)` int64 train ids, 255 = ignored.

        Returns:
            the same; pixels of the masks that a transform has filled are ignored.
        """
        mean, std = (to_device_async(values, images).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        pixels = (images * std + mean).clamp_(0, 1)
        seeds = (uniforms[:, _DRAW] * 2.0**53).astype(np.int64).tolist()
        transformed: list[Tensor] = []
        labels: list[Tensor] = []
        with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
            for place, seed in enumerate(seeds):
                torch.manual_seed(seed)
                parts = _parts(pixels[place], None if masks is None else masks[place])
                for name, transform in self.transforms.items():
                    parts = _apply(name, transform, parts)
                transformed.append(parts[0].as_subclass(Tensor).float())
                labels.extend(_labels(mask) for mask in parts[1:])
        out = (torch.stack(transformed) - mean) / std
        return out, None if masks is None else torch.stack(labels)


def build_transforms(node: Mapping[str, Any] | None, size: tuple[int, int], masks: bool) -> Transforms | None:
    """Build the transforms of a config's `transforms` node; None where there are none.

    Raises:
        UserError: see `Transforms`.
    """
    parts = {name: part for name, part in (node or {}).items() if part is not None}
    for name, part in parts.items():
        check_node(part, f"transforms.{name}")
    transforms = {name: instantiate(part) for name, part in parts.items()}
    return Transforms(transforms, size, masks) if transforms else None


def _named(name: str, transform: Callable[..., Any]) -> str:
    return f"transforms.{name}: {type(transform).__name__}"


def _parts(image: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    """Prepare an image and the train ids of its pixels for a transform; undone for masks by `_labels`."""
    return (Image(image),) if mask is None else (Image(image), Mask(torch.stack([mask, IGNORE_INDEX - mask])))


def _labels(mask: Tensor) -> Tensor:
    """Train ids `(H, W)`: 255 where a transform has filled both maps with one value, so that their sum is no 255."""
    labels, complement = mask.as_subclass(Tensor)
    return labels.where(labels + complement == IGNORE_INDEX, IGNORE_INDEX)


def _apply(name: str, transform: Callable[..., Any], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    result = transform(*parts)
    results = tuple(result) if isinstance(result, tuple | list) else (result,)
    given = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in results]
    needed = [tuple(part.shape) for part in parts]
    if given != needed:
        given_text, needed_text = (" and ".join(map(str, each)) for each in (given, needed))
        raise UserError(f"{_named(name, transform)} gives {given_text}; the size has to stay {needed_text}")
    return results

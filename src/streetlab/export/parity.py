"""Compare an exported file with its network, at image sizes and batch sizes not used in the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.decode import resize
from streetlab.errors import UserError, first_line
from streetlab.export.graph import DeployedNetwork
from streetlab.inference.exported import ExportedNetwork
from streetlab.progress import track

Pixels = NDArray[np.uint8]

FACTORS = ((0.5, 0.5), (0.63, 1.1), (0.8, 0.7), (1.0, 1.0), (1.2, 0.9))
"""What the sides are multiplied by, before they are made odd."""
BATCHES = (1, 2, 3)
_MOST_PIXELS = 512 * 1024
"""Of one image: larger ones take much memory and tell no more."""
_LEAST_TRAINED = 64
"""Sides below are taken for this long: five odd sizes about 32 would be one."""


@dataclass(frozen=True)
class Agreement:
    """The share of pixels, or of images with one label each, to which file and network give the same class.

    Attributes:
        agreeing, compared: so many of them, over all sizes and batches.
        largest_difference: of any two logits, absolute.
        sizes: (height, width) of the images.
        batches: how many of them at once, at each size.
        of: `pixels` or `labels`.
    """

    agreeing: int
    compared: int
    largest_difference: float
    sizes: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]
    of: str

    @property
    def share(self) -> float:
        return self.agreeing / self.compared

    def to_dict(self) -> dict[str, Any]:
        return {
            "share": self.share,
            "of": self.of,
            "agreeing": self.agreeing,
            "compared": self.compared,
            "largest_logit_difference": self.largest_difference,
            "sizes": self.sizes,
            "batches": self.batches,
        }


def odd_sizes(image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Five sizes about the one that the network was trained at; no side is a multiple of any stride."""
    height, width = (max(side, _LEAST_TRAINED) for side in image_size)
    shrunk = min(1.0, (_MOST_PIXELS / (height * width)) ** 0.5)

    def odd(side: float) -> int:
        return int(side * shrunk) | 1

    return tuple((odd(height * tall), odd(width * wide)) for tall, wide in FACTORS)


@torch.inference_mode()
def compare(
    module: DeployedNetwork, exported: ExportedNetwork, image_size: tuple[int, int], photos: Sequence[Pixels]
) -> Agreement:
    """Show both the same photos at five odd sizes and at their own, in batches of one, two and three.

    Sizes that the network itself does not take are left out: transformers that classify often take but one.

    Args:
        module: on the CPU.
        image_size: that the network was trained at.
        photos: (h, w, 3) uint8; the first three of them are resized.

    Raises:
        UserError: the file does not take what the network takes, or gives numbers that are not finite.
    """
    agreeing = compared = 0
    largest = 0.0
    sizes: list[tuple[int, int]] = []
    for size in track((*odd_sizes(image_size), image_size), "sizes compared"):
        images = np.stack([resize(Image.fromarray(photos[i % len(photos)]), size) for i in range(BATCHES[-1])])
        try:
            expected = module(torch.from_numpy(images)).numpy()
        except (AssertionError, RuntimeError, ValueError):
            if size == image_size:
                raise
            continue
        sizes.append(size)
        for count in BATCHES:
            found = _answer(exported, images[:count])
            same = found.argmax(axis=1) == expected[:count].argmax(axis=1)
            agreeing, compared = agreeing + int(same.sum()), compared + same.size
            largest = max(largest, float(np.abs(found - expected[:count]).max()))
    of = "pixels" if exported.metadata.label_space.spec.per_pixel else "labels"
    return Agreement(agreeing, compared, largest, tuple(sizes), BATCHES, of)


def _answer(exported: ExportedNetwork, images: Pixels) -> NDArray[np.float32]:
    what = f"{len(images)} images of {images.shape[1]}x{images.shape[2]}"
    try:
        logits = exported.pixels(images)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"format: the file does not take {what}, the network does ({first_line(error)})") from error
    if not np.isfinite(logits).all():
        raise UserError(f"precision: in {exported.metadata.precision} the logits of {what} are not finite; try another")
    return logits

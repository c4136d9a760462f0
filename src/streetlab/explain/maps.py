"""Raw activation maps of many photos and classes, batch by batch, and the file maps.npz that keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from streetlab.io import files
from streetlab.loading.augment import normalize
from streetlab.progress import track

KEPT_SIDE = 64
"""Maps are kept at this many pixels on their longer side at most: a last stage's map has 4 to 28."""


class Wanted(NamedTuple):
    """A map that is to be made: of which photo, for which class."""

    photo: int
    label: int


class MadeMap(NamedTuple):
    """A raw map (H, W) float32 at the size of the images that the network sees."""

    wanted: Wanted
    values: NDArray[np.float32]


def make_maps(
    read: Callable[[int], NDArray[np.uint8]],
    wanted: Sequence[Wanted],
    activate: Callable[[Tensor, Sequence[Wanted]], Tensor],
    batch_size: int,
    device: torch.device,
) -> Iterator[MadeMap]:
    """Compute the wanted maps, in the order asked.

    Args:
        read: the photo (H, W, 3) uint8 at the size that the network sees, by its number.
        activate: (B, H, W) maps of normalised images (B, 3, H, W) and what is wanted of each.
    """
    starts = range(0, len(wanted), batch_size)
    for start in track(starts, "activation maps, batches"):
        batch = wanted[start : start + batch_size]
        maps = activate(as_images([read(item.photo) for item in batch], device), batch)
        for item, values in zip(batch, maps.float().cpu().numpy(), strict=True):
            yield MadeMap(item, values)


def as_images(photos: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """(B, 3, H, W) float32, normalised, of B photos (H, W, 3) uint8."""
    return normalize(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).to(device))


def reduced(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map (H, W) at `KEPT_SIDE` pixels on its longer side at most, each the mean of those it stands for."""
    height, width = values.shape
    factor = max(height, width) / KEPT_SIDE
    if factor <= 1:
        return values
    size = (max(1, math.ceil(height / factor)), max(1, math.ceil(width / factor)))
    return F.interpolate(torch.from_numpy(values)[None, None], size=size, mode="area")[0, 0].numpy()


class MapStore:
    """Raw maps by photo and class, reduced; what maps.npz holds and the pictures are drawn from.

    Args:
        ids: N names of the photos.
        names: of all classes.
    """

    def __init__(self, ids: Sequence[str], names: Sequence[str]) -> None:
        self.ids, self.names = list(ids), list(names)
        self._maps: dict[Wanted, NDArray[np.float32]] = {}

    def add(self, made: MadeMap) -> None:
        self._maps[made.wanted] = reduced(made.values)

    def get(self, photo: int, label: int) -> NDArray[np.float32] | None:
        """The raw map (h, w), or None where none was made."""
        return self._maps.get(Wanted(photo, label))

    def labels(self, photo: int) -> list[int]:
        """The classes that the photo has a map of."""
        return sorted(wanted.label for wanted in self._maps if wanted.photo == photo)

    def scale(self, wanted: Sequence[Wanted]) -> float:
        """The divisor of all maps of a page: the 99.5th percentile of those named, over all their pixels.

        One number for all, so that a pale map means little evidence and not only little in this photo. 1 where
        every map is 0.
        """
        there = [self._maps[item].ravel() for item in wanted if item in self._maps]
        value = float(np.percentile(np.concatenate(there), 99.5)) if there else 0.0
        return value if value > 0 else 1.0

    def heat(self, photo: int, label: int, scale: float) -> NDArray[np.float32]:
        """The map (h, w) divided by the scale, 0 to 1."""
        return np.clip(self._maps[Wanted(photo, label)] / scale, 0, 1)

    def write(self, path: Path, size: tuple[int, int], **about: Any) -> None:
        """Write maps.npz: `ids` (N), `classes` (C names), `maps` (N, C, h, w) float32, `image_size` (height, width).

        The values are raw, as the method made them; a map that was not made is NaN throughout.

        Args:
            size: of the images that the network saw; the maps cover the whole of them.
            about: further arrays.
        """
        labels = sorted({wanted.label for wanted in self._maps})
        shape = next(iter(self._maps.values())).shape if self._maps else (0, 0)
        maps = np.full((len(self.ids), len(labels), *shape), np.nan, dtype=np.float32)
        for (photo, label), values in self._maps.items():
            maps[photo, labels.index(label)] = values
        arrays = {
            "ids": np.asarray(self.ids, dtype=np.str_),
            "classes": np.asarray([self.names[label] for label in labels], dtype=np.str_),
            "maps": maps,
            "image_size": np.asarray(size),
            **about,
        }
        files.write_bytes(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))

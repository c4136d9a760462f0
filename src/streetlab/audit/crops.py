"""Propose pairs of images of which one may be cut from any part of the other, which hashes do not see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from streetlab.io.parallel import in_order

MOST_IMAGES = 5_000
"""Crops are sought among no more images: every window of each is compared with all others."""
_SIDE = 12
"""Windows and images are compared at this many pixels a side."""
_DETAIL = 3.0
"""Gaussian, in these pixels, that is subtracted: that the sky is bright and the road dark makes no crop."""
_SHARES = (1.0, 0.8, 0.65, 0.5)
"""Sides of the windows as shares of the image's; alignment bridges what lies between."""
_LEAST_AREA = 0.4
_LEAST_LIKENESS = 0.55
_MOST_OF_ONE = 4
"""Proposals for each image: the most alike, from this correlation on."""
_ROWS = 256

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class CropPairs:
    """Pairs in which `part` may be cut from `whole`.

    Attributes:
        part, whole: (P,) indices.
        warp: (P, 4) stretch and shift of the columns, then of the rows, that bring the whole onto the part, as
            `similarities` starts from.
    """

    part: NDArray[np.int64]
    whole: NDArray[np.int64]
    warp: Floats


def crop_pairs(thumbnails: NDArray[np.uint8]) -> CropPairs:
    """Propose for each image the images that it looks most like a part of.

    The normalised cross-correlation (J. P. Lewis, "Fast normalized cross-correlation", 1995) of each image with
    windows of all others is one product of matrices for each window.

    Args:
        thumbnails: (N, S, S) uint8 luma; none where there are more than `MOST_IMAGES`.
    """
    count = len(thumbnails)
    if not 1 < count <= MOST_IMAGES:
        return CropPairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.float32))
    windows = list(_windows())
    luma = thumbnails.astype(np.float32)
    parts = _described(luma, (0.0, 1.0), (0.0, 1.0))
    seen = [_described(luma, *window) for window in windows]

    def best_of(start: int) -> tuple[NDArray[np.int64], ...]:
        """Of these rows' parts the wholes, and in which window of theirs each is: (P,) part, whole, window."""
        rows = parts[start : start + _ROWS]
        likeness = np.full((len(rows), count), -1, np.float32)
        where = np.zeros((len(rows), count), np.int64)
        for window, wholes in enumerate(seen):
            here = rows @ wholes.T
            where[here > likeness] = window
            np.maximum(likeness, here, out=likeness)
        likeness[np.arange(len(rows)), np.arange(start, start + len(rows))] = -2  # each is the whole of itself
        most = min(_MOST_OF_ONE, count - 1)
        nearest = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        row, rank = np.nonzero(np.take_along_axis(likeness, nearest, axis=1) >= _LEAST_LIKENESS)
        whole = nearest[row, rank]
        return row + start, whole, where[row, whole]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(in_order(pool, best_of, range(0, count, _ROWS)))
    part, whole, window = (np.concatenate(columns) for columns in zip(*found, strict=True))
    warps = np.array([(*_warp(*across), *_warp(*down)) for across, down in windows], np.float32)
    return CropPairs(part, whole, warps[window])


def _windows() -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Ends of each window, across and down, in [0, 1]: every size at the ends and in the middle."""
    for wide, high in product(_SHARES, repeat=2):
        if 1 > wide * high >= _LEAST_AREA:
            for left, top in product(_starts(wide), _starts(high)):
                yield (left, left + wide), (top, top + high)


def _starts(share: float) -> tuple[float, ...]:
    return (0.0,) if share == 1 else (0.0, (1 - share) / 2, 1 - share)


def _warp(low: float, high: float) -> tuple[float, float]:
    """Stretch and shift: pixel u of the part comes from 0.5 + (1 + stretch)(u - 0.5) + shift of the whole."""
    return high - low - 1, (low + high) / 2 - 0.5


def _described(luma: Floats, across: tuple[float, float], down: tuple[float, float]) -> Floats:
    """(N, D) a window of each image with mean 0 and length 1, so that a product of two is their correlation."""
    side = luma.shape[-1]
    small = _means(*down, side) @ luma @ _means(*across, side).T
    small = small - gaussian_filter(small, (0, _DETAIL, _DETAIL))
    flat = small.reshape(len(small), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    described: Floats = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-3)
    return described


def _means(low: float, high: float, side: int) -> Floats:
    """(_SIDE, side) the matrix that averages a line of pixels over equal steps from `low` to `high`."""
    edges = np.linspace(low * side, high * side, _SIDE + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = overlap.clip(0)
    means: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return means

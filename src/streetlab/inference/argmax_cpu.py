"""Argmax and confidence of scores on the CPU, tile by tile, in buffers that fit a core's cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 56, 64
"""Of a tile: the scores of 19 classes are 270 KiB, of which a core's cache holds several, and no product of matrices is
so large (2**18 multiplications) that OpenBLAS would wake threads of its own for it."""
_LOST = 1 / 8
"""How much of a 255th the classes that are left out of a tile can add to a confidence."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def label(scores: Floats, ids: Bytes, confidence: Bytes, threads: int) -> None:
    """Write the most probable class of each pixel, the first of several, and its probability as a share of 255.

    Args:
        scores: (K, H, W) logits; up to 255 classes.
        ids, confidence: (H, W), written to.
        threads: how many tiles are worked on at once.
    """
    classes, height, width = scores.shape
    columns = list(pairwise([*range(0, width, _COLUMNS), width]))

    def strip(top: int, end: int) -> None:
        tile = _Tile(classes)
        for left, right in columns:
            tile.label(scores[:, top:end, left:right], ids[top:end, left:right], confidence[top:end, left:right])

    _in_strips(strip, height, threads)


def label_enlarged(scores: Floats, ids: Bytes, confidence: Bytes, threads: int) -> None:
    """As `label`, of scores (K, h, w) that are enlarged to the size of `ids`, no smaller, tile by tile as well.

    The enlarged scores are those of `F.interpolate(mode="bilinear", align_corners=False)` up to the rounding of
    float32, and never all in memory.
    """
    classes, height, width = scores.shape
    rows = sources(height, ids.shape[0])
    columns = [
        (left, right, *_weights(sources(width, ids.shape[1]), left, right))
        for left, right in pairwise([*range(0, ids.shape[1], _COLUMNS), ids.shape[1]])
    ]

    def strip(top: int, end: int) -> None:
        tile, (first, stop, down) = _Tile(classes), _weights(rows, top, end)
        for left, right, begin, over, across in columns:
            part = scores[:, first:stop, begin:over]
            tile.label_enlarged(part, down, across, ids[top:end, left:right], confidence[top:end, left:right])

    _in_strips(strip, ids.shape[0], threads)


def sources(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Of each of `new` rows: the row above and below its place among the `old` ones, and the weight of that below.

    In float32 as torch reckons it, so that both find the same place.
    """
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * (np.float32(old) / np.float32(new))
    places = np.maximum(places - np.float32(0.5), np.float32(0))
    upper = np.minimum(places.astype(np.int64), old - 1)
    weights = places - upper.astype(np.float32)
    return upper, np.minimum(upper + (weights > 0), old - 1), weights


class _Tile:
    """The buffers in which the scores of one tile after the other are processed."""

    def __init__(self, classes: int) -> None:
        pixels = _ROWS * _COLUMNS
        self._scores = np.empty(classes * pixels, np.float32)
        self._below = np.empty(classes * pixels, np.float32)
        self._largest = np.empty(pixels, np.float32)
        self._rank = np.empty(pixels, np.int32)
        self._ranks = self._scores.view(np.int32)
        self._margin = math.log(255 / _LOST * max(1, classes - 1))

    def label_enlarged(self, scores: Floats, down: Floats, across: Floats, ids: Bytes, confidence: Bytes) -> None:
        """Of scores (K, h, w) and the weights (rows, h) and (columns, w) that enlarge them."""
        classes = len(scores)
        flat = scores.reshape(classes, -1)
        # what lies between scores is neither below their least nor above their greatest
        floor = np.minimum.reduce(flat, axis=1).max()
        kept = np.flatnonzero(~(np.maximum.reduce(flat, axis=1) < floor - self._margin))  # NaN is kept
        if len(kept) == 1:
            ids[:], confidence[:] = kept[0], 255
            return
        wide = np.matmul(scores if len(kept) == classes else scores[kept], across.T)
        shape = (len(kept), len(down), wide.shape[-1])
        self.label(np.matmul(down, wide, out=_part(self._scores, shape)), ids, confidence)
        if len(kept) < classes:
            np.take(kept.astype(np.uint8), ids, out=ids)

    def label(self, scores: Floats, ids: Bytes, confidence: Bytes) -> None:
        """As the function of that name."""
        shape = scores.shape
        below = _part(self._below, shape)
        largest, rank = _part(self._largest, shape[1:]), _part(self._rank, shape[1:])
        np.maximum.reduce(scores, axis=0, out=largest)
        np.subtract(scores, largest, out=below)
        # as integers, +0.0 is 0 and all below it negative: the sum is positive for the largest alone, the first of
        # which has the highest rank. Several times faster than comparing floats.
        ranks = np.arange(len(scores), 0, -1, dtype=np.int32)[:, None, None]
        np.add(below.view(np.int32), ranks, out=_part(self._ranks, shape))
        np.maximum.reduce(_part(self._ranks, shape), axis=0, out=rank)
        np.subtract(len(scores), np.maximum(rank, 1, out=rank), out=ids, casting="unsafe")  # below 1 of NaN alone
        total = np.add.reduce(np.exp(below, out=below), axis=0, out=largest)
        np.rint(np.divide(255, total, out=total), out=confidence, casting="unsafe")


def _part(buffer: NDArray, shape: tuple[int, ...]) -> NDArray:
    return buffer[: math.prod(shape)].reshape(shape)


def _weights(
    places: tuple[NDArray[np.int64], NDArray[np.int64], Floats], start: int, end: int
) -> tuple[int, int, Floats]:
    """The first row that the new ones from `start` to `end` are made of, the one after the last, and their weights."""
    upper, lower, weights = (part[start:end] for part in places)
    first, stop = int(upper[0]), int(lower[-1]) + 1
    matrix, new = np.zeros((end - start, stop - first), np.float32), np.arange(end - start)
    matrix[new, lower - first] = weights
    matrix[new, upper - first] += 1 - weights
    return first, stop, matrix


def _in_strips(work: Callable[[int, int], None], height: int, threads: int) -> None:
    """Call `work` with the first row and the end of every row of tiles."""
    tops = range(0, height, _ROWS)
    ends = [min(top + _ROWS, height) for top in tops]
    if min(threads, len(tops)) <= 1:
        for top, end in zip(tops, ends, strict=True):
            work(top, end)
        return
    with ThreadPoolExecutor(min(threads, len(tops))) as pool:
        list(pool.map(work, tops, ends))

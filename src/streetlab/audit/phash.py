"""Compute the 64-bit perceptual hash of an image and its mirror image, and search for similar hashes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from streetlab.io.parallel import in_order

_SIDE = 32
_LOW = 8
_ALTERNATING = np.where(np.arange(_LOW) % 2, -1.0, 1.0)
_ROWS, _COLUMNS = 128, 4096
"""One block's XOR takes 4 MiB, which stays in a core's cache."""


def perceptual_hashes(grey: Image.Image) -> tuple[int, int]:
    """Compute the hash of an image and of its mirror image, 64 bits each.

    The image is shrunk to 32 × 32; of its type II discrete cosine transform each of the 8 × 8 lowest
    frequencies, the mean among them, gives the bit whether it lies above their median, row by row, highest bit
    first. The DCT hash is from C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
    2010, section 3.2.1; that the median is of the same 64 coefficients follows the `imagehash` package, whose
    hashes these equal.

    Args:
        grey: mode L, of any size.
    """
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = dctn(small, type=2)[:_LOW, :_LOW]
    return _pack(low), _pack(low * _ALTERNATING)  # mirroring changes the sign of the odd horizontal frequencies


def _pack(low: NDArray[np.float64]) -> int:
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


@dataclass(frozen=True)
class NearPairs:
    """Pairs of hashes, ordered by i, then j.

    Attributes:
        i, j: (P,) indices, i < j.
        distance: (P,) bits between them.
        most: the bits up to which all pairs are here; -1 where not even all equal ones are.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    distance: NDArray[np.int64]
    most: int


def near_pairs(first: NDArray[np.uint64], second: NDArray[np.uint64], most: int, budget: int = 1_000_000) -> NearPairs:
    """Find the pairs i < j with at most `most` bits between `first[i]` and `second[j]`.

    All pairs are compared, block by block in threads, in memory that does not grow with their number.

    Args:
        first, second: (N,) hashes of the same images; the same ones, or the second of their mirror images.
        budget: no more pairs than this; where there are more, `most` is lowered until there are not.
    """
    blocks = [(row, column) for row in range(0, len(first), _ROWS) for column in range(row, len(first), _COLUMNS)]
    found: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
    count = 0

    def near_in(block: tuple[int, int]) -> NDArray[np.int64]:
        return _near_in_block(first, second, block, most)  # as it is by now: it may have been lowered

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for near in in_order(pool, near_in, blocks, ahead=8):
            near = near[:, near[2] <= most]
            found.append(near)
            count += near.shape[1]
            while count > budget and most >= 0:
                most -= 1
                found = [part[:, part[2] <= most] for part in found if part.shape[1]]
                count = sum(part.shape[1] for part in found)
    i, j, distance = np.concatenate([np.empty((3, 0), np.int64), *found], axis=1)
    order = np.lexsort((j, i))
    return NearPairs(i[order], j[order], distance[order], most)


def _near_in_block(
    first: NDArray[np.uint64], second: NDArray[np.uint64], block: tuple[int, int], most: int
) -> NDArray[np.int64]:
    """(3, P): i, j and distance."""
    row, column = block
    bits = np.bitwise_count(first[row : row + _ROWS, None] ^ second[None, column : column + _COLUMNS])
    places = np.flatnonzero(bits.reshape(-1) <= most)
    i, j = np.divmod(places, bits.shape[1])
    near = np.stack([i + row, j + column, bits.reshape(-1)[places]]).astype(np.int64)
    return near[:, near[0] < near[1]]

"""Tileable noise tables that all surfaces sample; built once per process from a fixed seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streetlab.synthetic.rng import Rng

TILE = 256
"""Rows and columns of a table (a power of two, so that wrapping is a bit mask)."""


def upsample(grid: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear, wrapping around: (n, n) -> (n * factor, n * factor)."""
    step = (np.arange(grid.shape[0] * factor) % factor).astype(np.float32) / np.float32(factor)
    low = np.repeat(grid, factor, axis=0)
    high = np.repeat(np.roll(grid, -1, axis=0), factor, axis=0)
    rows = low + (high - low) * step[:, None]
    low = np.repeat(rows, factor, axis=1)
    high = np.repeat(np.roll(rows, -1, axis=1), factor, axis=1)
    return low + (high - low) * step


@lru_cache(maxsize=16)
def noise(coarsest: int, finest: int) -> np.ndarray:
    """Fractal noise (TILE, TILE) float32 of mean about 0 within about -1 .. 1.

    Args:
        coarsest: size in texels of the largest blobs, a power of two; each octave halves size and weight.
        finest: size of the smallest.
    """
    rng = Rng(7919, coarsest, finest)
    total = np.zeros((TILE, TILE), np.float32)
    weight, size = 1.0, coarsest
    while size >= finest:
        grid = rng.fractions(TILE // size, TILE // size) * np.float32(2) - np.float32(1)
        total += (upsample(grid, size) if size > 1 else grid) * np.float32(weight)
        weight *= 0.6
        size //= 2
    return total


def sample(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Nearest texels at float coordinates of any range; `rows` and `columns` broadcast."""
    i = rows.astype(np.int32) & (TILE - 1)
    j = columns.astype(np.int32) & (TILE - 1)
    return table.ravel().take((i * TILE) + j)

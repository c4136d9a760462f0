"""Divide photos into grids of cells, rank the cells, and impute those that are removed.

Imputation is the noisy linear one of ROAD (Rong et al. 2022, arXiv:2202.00449): a missing pixel is the weighted mean of
its eight neighbours, a direct one counting twice a diagonal one; neighbours that are missing too are unknowns of the
same system of equations. Unlike grey or blurred patches it leaves little trace of where pixels are missing, from which
a network could read the class.

pytorch-grad-cam's `NoisyLinearImputer` sets up the system. It is solved here: the library's solver takes no float64,
and its noise comes from torch's global generator, not from the seed of the request.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu


def center_map(height: int, width: int) -> NDArray[np.float64]:
    """(height, width): a Gaussian in the middle, its standard deviation a quarter of each side; 1 at most.

    What anyone would guess who has not seen the photo.
    """
    down, across = (((np.arange(side) + 0.5) / side - 0.5) * 4 for side in (height, width))
    return np.exp(-(down[:, None] ** 2 + across**2) / 2)


def cell_of_pixel(height: int, width: int, cells: int) -> NDArray[np.int64]:
    """(height, width) number of each pixel's cell in a grid of `cells` by `cells`, row by row."""
    rows, columns = (np.arange(side) * cells // side for side in (height, width))
    return rows[:, None] * cells + columns


def cell_means(maps: NDArray[np.floating], cells: int) -> NDArray[np.float64]:
    """(N, cells²) mean of (N, H, W) maps in each cell."""
    height, width = maps.shape[1:]
    places = cell_of_pixel(height, width, cells).ravel()
    sizes = np.bincount(places, minlength=cells**2)
    return np.stack([np.bincount(places, weights=values.ravel(), minlength=cells**2) / sizes for values in maps])


def rank_cells(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """(n,) cells, the largest value first; equal ones in random order.

    Raw maps are 0 in many cells, often in all; an order of rows among them would be a map of its own.
    """
    chance = random.permutation(len(values))
    return np.lexsort((chance, -values))


NOISE = 0.01
"""Standard deviation of what is added to imputed pixels, in units of the normalised image; the authors' own."""
SOLVED_SIDE = 64
"""The system is solved on at most this many pixels a side: 7 times faster than at 224 (13 ms a fill)."""


def impute(image: NDArray[np.floating], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(C, H, W) with the missing pixels (H, W) filled in, without noise.

    Raises:
        ValueError: every pixel is missing.
    """
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer, neighbors_weights  # a second to import

    if missing.all():
        raise ValueError("every pixel is missing: there is nothing to impute from")
    filled = np.array(image, dtype=np.float64)
    matrix, right = NoisyLinearImputer.setup_sparse_system((~missing).astype(np.float64), filled, neighbors_weights)
    filled[:, missing] = splu(csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A").solve(right).T
    return filled


def impute_cells(
    image: NDArray[np.float32], removed: NDArray[np.bool_], cells: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """(3, H, W) with the removed cells (cells²,) filled in, noise included.

    Where the image is larger than `SOLVED_SIDE`, the fill is solved on means over pixels and resized bilinearly.
    The means nest in the cells, so that nothing of a removed cell is among what is known.
    """
    height, width = image.shape[1:]
    rows, columns = (cells * max(1, min(SOLVED_SIDE, side) // cells) for side in (height, width))
    solved = impute(_block_means(image, rows, columns), removed[cell_of_pixel(rows, columns, cells)])
    fill = F.interpolate(torch.from_numpy(solved)[None], (height, width), mode="bilinear", align_corners=False)[0]
    noisy = fill.numpy() + NOISE * random.standard_normal(image.shape)
    return np.where(removed[cell_of_pixel(height, width, cells)], noisy, image).astype(np.float32)


def _block_means(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float64]:
    """(C, rows, columns) means of the pixels that `cell_of_pixel` would put together."""
    means = image.astype(np.float64)
    for axis, count in ((1, rows), (2, columns)):
        starts = -(-np.arange(count) * image.shape[axis] // count)
        sizes = np.diff(np.append(starts, image.shape[axis]))
        means = np.add.reduceat(means, starts, axis=axis) / (sizes[:, None] if axis == 1 else sizes)
    return means

"""Divide photos into grids of cells, rank the cells, and impute those that are removed.

Imputation is the noisy linear one of ROAD (Rong et al. 2022, arXiv:2202.00449): a missing pixel is the weighted mean of
its eight neighbours, a direct one counting twice a diagonal one; neighbours that are missing too are unknowns of the
same system of equations. Unlike grey or blurred patches it leaves little trace of where pixels are missing, from which
a network could read the class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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

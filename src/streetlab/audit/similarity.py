"""Compare two images by structural similarity after their thumbnails are aligned."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from streetlab.io.parallel import in_order

Floats = NDArray[np.floating]

_BATCH = 128
_COARSE, _COARSE_STEPS = 16, 8
_FINE = ((32, 4), (64, 3))
"""Sides and steps of the pyramid; a 10% crop is one and a half pixels at the coarsest level."""
_ZOOMS = (0.0, -0.1, 0.1)
"""Central crops to start from, besides the two that give both images the same shape."""
_AWAY = 0.2
"""How far a stretch or a shift may go at each level, as a share of the side."""
_LEAST_COMMON = 0.4
"""Of the first image; a smaller part in common makes no copy."""
_GLIMPSE, _OUTLINE = 0.4, 0.6
"""Correlation at the coarsest level, before and after alignment there, below which a pair is given up: nine of
ten unrelated ones cost little."""
_DAMPING, _LEAST_GAIN = 1e-3, 0.2
"""Of the steps: a share of the diagonal, and where the images do not agree at all yet."""
_SIGMA = 1.5
"""The window of the structural similarity, in pixels; as in its paper."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""The paper's constants, for images of the contrast below."""
_CONTRAST, _MOST_GAIN = 50.0, 2.0
"""Standard deviation that images are brought to; dull ones by this gain at most, which keeps their noise down."""


def similarities(
    thumbnails: NDArray[np.uint8],
    aspects: Floats,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    warps: Floats | None = None,
) -> Floats:
    """Structural similarity of pairs of images once they are aligned, 1 for the same picture.

    The second image (mirrored, where the pair says so) is brought onto the first by the stretch and shift along
    each axis that undoes a crop or a resize. These are found from coarse to fine by Gauss-Newton steps (B. D.
    Lucas and T. Kanade, "An iterative image registration technique with an application to stereo vision", IJCAI
    1981), with gain and offset of the grey levels. Then the structural similarity (Z. Wang et al., "Image quality
    assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004) is averaged over where both
    have pixels, after both are brought to one brightness and contrast, which thereby do not count.

    Args:
        thumbnails: (N, 64, 64) uint8 luma.
        aspects: (N,) width over height of the images, before they were stretched to thumbnails.
        first, second: (P,) indices into them.
        mirrored: (P,) bool.
        warps: (P, 4) where alignment starts, stretch and shift of the columns, then of the rows; None: at central
            crops, and at what was cut at two sides.

    Returns:
        (P,) float32, at most 1; 0 where not even the outlines agree.
    """

    def compare(start: int) -> Floats:
        part = slice(start, start + _BATCH)
        a = thumbnails[first[part]].astype(np.float32)
        b = thumbnails[second[part]].astype(np.float32)
        b[mirrored[part]] = b[mirrored[part], :, ::-1]
        starts = _starts(aspects[first[part]] / aspects[second[part]]) if warps is None else warps[part, None]
        return _compare(a, b, starts)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(in_order(pool, compare, range(0, len(first), _BATCH)))
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _compare(a: Floats, b: Floats, starts: Floats) -> Floats:
    """Similarity of images (P, S, S), the best of whose `starts` (P, K, 4) is refined."""
    result = np.zeros(len(a), np.float32)
    small_a, small_b = _shrink(a, _COARSE), _shrink(b, _COARSE)
    start, agreement = _best_start(small_a, small_b, starts)
    close = np.flatnonzero(agreement >= _GLIMPSE)
    small_a, small_b, start = small_a[close], small_b[close], start[close]
    warp = _refine(small_a, small_b, start, _COARSE_STEPS)
    still = _correlation(small_a, *_move(small_b, warp)) >= _OUTLINE
    close, warp = close[still], warp[still]
    a, b = a[close], b[close]
    for side, steps in _FINE:
        warp = _refine(_shrink(a, side), _shrink(b, side), warp, steps)
    moved, inside = _move(b, warp)
    similarity = _structural_similarity(*_one_contrast(moved, a, inside), inside)
    result[close] = np.where(inside.mean(axis=(1, 2)) >= _LEAST_COMMON, similarity, 0)
    return result


def _starts(shapes: Floats) -> Floats:
    """(P, K, 4) start values, of the aspects of the first over the second's: stretch and shift of columns, of rows."""
    starts = np.zeros((len(shapes), len(_ZOOMS) + 2, 4), np.float32)
    starts[:, :-2, [0, 2]] = np.array(_ZOOMS, np.float32)[:, None]
    starts[:, -2, 0] = shapes - 1  # one was cut from the other at the sides,
    starts[:, -1, 2] = 1 / shapes - 1  # or at top and bottom
    return starts


def _best_start(a: Floats, b: Floats, starts: Floats) -> tuple[Floats, Floats]:
    """Choose the start under which the images agree best, (P, 4), and their correlation under it, (P,)."""
    count, ways = starts.shape[:2]
    moved, inside = _move(np.repeat(b, ways, axis=0), starts.reshape(-1, 4))
    agreement = _correlation(moved, np.repeat(a, ways, axis=0), inside).reshape(count, ways)
    best = agreement.argmax(axis=1)
    return starts[np.arange(count), best], agreement.max(axis=1)


def _refine(a: Floats, b: Floats, start: Floats, steps: int) -> Floats:
    slopes, warp = np.stack([b, *_slopes(b)], axis=1), start
    for _ in range(steps):
        warp = (warp + _step(a, slopes, warp)).clip(start - _AWAY, start + _AWAY)
    return warp


def _move(images: Floats, warp: Floats) -> tuple[Floats, Floats]:
    """Warp the images (P, n, n), or stacks of them (P, C, n, n); and (P, n, n) 1 where the result is inside."""
    side = images.shape[-1]
    columns, in_columns = _interpolation(warp[:, 0], warp[:, 1], side)
    rows, in_rows = _interpolation(warp[:, 2], warp[:, 3], side)
    inside = (in_rows[:, :, None] & in_columns[:, None, :]).astype(np.float32)
    if images.ndim == 4:
        rows, columns = rows[:, None], columns[:, None]
    return rows @ images @ columns.swapaxes(-1, -2), inside


def _correlation(a: Floats, b: Floats, inside: Floats) -> Floats:
    """(P,) Pearson's r within the common part; 0 where that is too small."""
    a, b = _centre(a, inside), _centre(b, inside)
    product, squares = (a * b).sum(axis=(1, 2)), (a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2))
    return np.where(inside.mean(axis=(1, 2)) >= _LEAST_COMMON, product / np.sqrt(squares + 1e-6), 0)


def _centre(images: Floats, inside: Floats) -> Floats:
    """Subtract the mean inside; 0 outside."""
    return (images - _mean(images, inside)) * inside


def _mean(images: Floats, inside: Floats) -> Floats:
    """(P, 1, 1) means of the pixels inside."""
    return (images * inside).sum(axis=(1, 2), keepdims=True) / inside.sum(axis=(1, 2), keepdims=True).clip(1)


def _one_contrast(a: Floats, b: Floats, inside: Floats) -> tuple[Floats, Floats]:
    """Give both mean 128 and one standard deviation inside."""
    spreads = [np.sqrt(_mean((image - _mean(image, inside)) ** 2, inside)) + 1e-3 for image in (a, b)]
    target = np.minimum(_CONTRAST, _MOST_GAIN * np.minimum(*spreads))
    both = [
        (image - _mean(image, inside)) * (target / spread) + 128 for image, spread in zip((a, b), spreads, strict=True)
    ]
    return both[0], both[1]


def _shrink(images: Floats, side: int) -> Floats:
    """(P, S, S) → (P, side, side) by the mean of blocks."""
    block = images.shape[-1] // side
    return images.reshape(len(images), side, block, side, block).mean(axis=(2, 4))


def _slopes(images: Floats) -> tuple[Floats, Floats]:
    """Change of the grey level along columns and rows, per side of the image."""
    side = images.shape[-1]
    down, across = np.gradient(images, axis=(1, 2))
    return across * side, down * side


def _interpolation(stretch: Floats, shift: Floats, side: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Per pair, the (side, side) matrix that samples a line where its pixels come from, and which come from within it.

    Pixel u in [0, 1] comes from 0.5 + (1 + stretch)(u - 0.5) + shift. Sampling is linear, over more pixels where
    the line is compressed.
    """
    places = np.arange(side, dtype=np.float32)
    offsets = (places + 0.5) / side - 0.5
    source = (0.5 + (1 + stretch[:, None]) * offsets + shift[:, None]) * side - 0.5
    inside = (source >= -0.5) & (source <= side - 0.5)
    distance = np.abs(source.clip(0, side - 1)[:, :, None] - places)
    weights = np.maximum(1 - distance / np.maximum(1 + stretch, 1)[:, None, None], 0)
    return weights / weights.sum(axis=2, keepdims=True), inside


def _step(a: Floats, slopes: Floats, warp: Floats) -> Floats:
    """Compute one Gauss-Newton step of the warp.

    `a` is regressed on the moved image, on its slopes under each of the four parameters, and on a constant.

    Args:
        a: (P, n, n).
        slopes: (P, 3, n, n): the other image and its slopes along columns and rows.
        warp: (P, 4).
    """
    count, side = len(a), a.shape[-1]
    moved, inside = _move(slopes, warp)
    offsets = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    image, across, down = moved[:, 0], moved[:, 1], moved[:, 2]
    terms = np.stack([across * offsets, across, down * offsets[:, None], down, image, np.ones_like(image)], axis=1)
    terms = (terms * inside[:, None]).reshape(count, 6, side * side)
    normal = (terms @ terms.transpose(0, 2, 1)).astype(np.float64)
    diagonal = np.einsum("pii->pi", normal)
    diagonal += _DAMPING * diagonal + 1e-6
    right = (terms @ a.reshape(count, side * side, 1)).astype(np.float64)
    solved = np.linalg.solve(normal, right)[:, :, 0]
    gain = np.maximum(solved[:, 4:5], _LEAST_GAIN)
    return (solved[:, :4] / gain).clip(-2 / side, 2 / side).astype(np.float32)


def _structural_similarity(a: Floats, b: Floats, inside: Floats) -> Floats:
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a, variance_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return (luminance * structure * inside).sum(axis=(1, 2)) / inside.sum(axis=(1, 2)).clip(1)


def _blur(images: Floats) -> Floats:
    return gaussian_filter(images, (0, _SIGMA, _SIGMA))

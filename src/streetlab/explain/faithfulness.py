"""Deletion and insertion: measure a class's probability while the cells that a map names go, or come.

The cells are no pixels: a last stage's map has 4 to 14 steps a side, and what lies between them is interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from streetlab.explain.cells import cell_means, cell_of_pixel, center_map, impute_cells, rank_cells
from streetlab.metrics.statistics.mean_interval import mean_interval
from streetlab.progress import track

Predict = Callable[[Tensor], Tensor]
Curves = dict[str, NDArray[np.float64]]
"""By what ranked the cells: (N, S) probability of each photo after each share of cells."""

RANKINGS = ("cam", "random", "center")
ROAD_FRACTIONS = (0.2, 0.4, 0.6, 0.8)


def score_faithfulness(
    predict: Predict,
    images: Tensor,
    classes: Sequence[int],
    maps: NDArray[np.floating],
    groups: Sequence[str] | None = None,
    *,
    cells: int = 8,
    seed: int = 0,
    batch_size: int = 64,
    steps: int = 8,
    road_photos: int = 32,
) -> dict[str, Any]:
    """Deletion, insertion and ROAD of maps, each beside a random order of the cells and a Gaussian in the centre.

    - deletion and insertion (RISE, Petsiuk et al. 2018, arXiv:1806.07421): cells are replaced by the blurred photo,
      the best first; or put back into the blurred photo, the best first. The score is the area under the mean
      probability of the class over the share of cells; low for deletion and high for insertion is good. The blur's
      standard deviation is half a cell.
    - ROAD (Rong et al. 2022, arXiv:2202.00449): cells are imputed from their surroundings, the most relevant first
      (MoRF) or the least relevant first (LeRF). The score is the mean of LeRF − MoRF; high is good.

    What counts is the difference to the other rankings: a photo may lose its class however it is taken apart.
    A photo's random order is used in both directions, which makes its LeRF − MoRF exactly 0. Cells of equal value
    are ranked by chance, with `seed`.

    The network is asked 6 (steps − 1) + 2 times for a photo, and 24 times more for each photo of ROAD.

    Args:
        predict: images (B, 3, H, W) to probabilities (B, K).
        images: (N, 3, H, W), as `predict` takes them.
        classes: N class ids, whose probability is followed.
        maps: (N, H, W), large where evidence is.
        groups: what each photo shows, for the intervals; None where every photo stands alone.
        cells: of a side of the grid.
        steps: parts that the cells are taken in.
        road_photos: at most so many photos, drawn with `seed`, have a ROAD score: imputing takes its time.

    Returns:
        Plain numbers, lists and dicts. A score is `{"mean", "interval"}`, see `mean_interval`.

        - `n` photos, `cells`, `seed`, `fractions` (shares of cells, 0 to 1, the curves' x), `flat` (photos whose
          map has one value in all cells, so that chance ranks them all);
        - `deletion` and `insertion`: `curves` (mean probability at each fraction, by `cam`, `random`, `center`),
          `auc` (scores by the same names), `cam_minus_random`, `cam_minus_center` (scores, paired by photo);
        - `road`, or None where `road_photos` is 0: `n`, `fractions`, `morf` and `lerf` (curves), `difference`
          (scores of LeRF − MoRF by name), `cam_minus_random`, `cam_minus_center`.

    Raises:
        ValueError: arguments of different length or size, maps that are not finite, or a class that `predict` does
            not have.
    """
    _check(images, classes, maps, cells)
    count = cells**2
    values = cell_means(maps, cells)
    orders = _orders(values, cells, seed)
    taken = sorted({abs(side - round(step * count / steps)) for step in range(steps + 1) for side in (0, count)})
    curves = _blurred_curves(predict, images, classes, orders, np.array(taken), cells, batch_size)
    fractions = np.array(taken) / count
    found: dict[str, Any] = {
        "n": len(images),
        "cells": cells,
        "seed": seed,
        "fractions": fractions.tolist(),
        "flat": int((np.ptp(values, axis=1) == 0).sum()),
    }
    for kind, by_ranking in curves.items():
        areas = {
            name: (np.diff(fractions) * (curve[:, 1:] + curve[:, :-1]) / 2).sum(axis=1)
            for name, curve in by_ranking.items()
        }
        found[kind] = {"curves": _means(by_ranking), "auc": _intervals(areas, groups)} | _differences(areas, groups)
    found["road"] = None
    if road_photos > 0:
        few = list(range(len(images)))
        if len(few) > road_photos:
            few = sorted(np.random.default_rng(seed).choice(few, road_photos, replace=False).tolist())
        labels = [classes[photo] for photo in few]
        kept = None if groups is None else [groups[photo] for photo in few]
        morf, lerf = _road_curves(predict, images[few], labels, orders[few], cells, batch_size, seed)
        differences = {name: (lerf[name] - morf[name]).mean(axis=1) for name in RANKINGS}
        found["road"] = {
            "n": len(few),
            "fractions": list(ROAD_FRACTIONS),
            "morf": _means(morf),
            "lerf": _means(lerf),
            "difference": _intervals(differences, kept),
        } | _differences(differences, kept)
    return found


def _check(images: Tensor, classes: Sequence[int], maps: NDArray[np.floating], cells: int) -> None:
    if not len(images) or len(classes) != len(images) or maps.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"images {tuple(images.shape)}, {len(classes)} classes and maps {maps.shape} do not fit")
    if not 2 <= cells <= min(maps.shape[1:]):
        raise ValueError(f"cells: {cells} for images of {maps.shape[1]}x{maps.shape[2]} px; from 2 to the shorter side")
    if not np.isfinite(maps).all():
        raise ValueError("maps have values that are not finite")


def _orders(values: NDArray[np.float64], cells: int, seed: int) -> NDArray[np.int64]:
    """(N, 6, cells²) orders of the cells: by map, chance and centre, each forwards and then backwards."""
    center = center_map(cells, cells).ravel()
    orders = []
    for photo, value in enumerate(values):
        random = np.random.default_rng([seed, photo])
        ranked = (rank_cells(value, random), random.permutation(len(value)), rank_cells(center, random))
        orders.append([way for order in ranked for way in (order, order[::-1])])
    return np.array(orders)


def _prefixes(orders: NDArray[np.int64], taken: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(N, 6, S, cells²): whether a cell is among the first `taken` (S,) of each order."""
    rank = np.argsort(orders, axis=-1)
    return rank[:, :, None, :] < taken[:, None]


def _blurred_curves(
    predict: Predict,
    images: Tensor,
    classes: Sequence[int],
    orders: NDArray[np.int64],
    taken: NDArray[np.integer],
    cells: int,
    batch_size: int,
) -> dict[str, Curves]:
    """Deletion and insertion: what one order leaves after its first cells, its reverse deletes last."""
    height, width = images.shape[-2:]
    pixels = images.detach().cpu().numpy()
    blurred = gaussian_filter(pixels, (0, 0, height / cells / 2, width / cells / 2))
    replacement = torch.from_numpy(blurred).to(images)
    places = torch.from_numpy(cell_of_pixel(height, width, cells))
    # the whole and the wholly blurred photo are the same in all orders
    inner = _prefixes(orders, taken[1:-1])
    ends = np.broadcast_to(np.array([[False], [True]]), (len(images), 2, cells**2))
    states = np.concatenate([ends, inner.reshape(len(images), -1, cells**2)], axis=1)

    def blur(rows: NDArray[np.int64], removed: NDArray[np.bool_]) -> Tensor:
        where = torch.from_numpy(removed)[:, places].to(images.device)
        return torch.where(where[:, None], replacement[rows], images[rows])

    probability = _ask(predict, classes, states, blur, batch_size, "deletion and insertion, batches")
    between = probability[:, 2:].reshape(*inner.shape[:3])
    whole, gone = (np.repeat(probability[:, None, i : i + 1], 6, axis=1) for i in (0, 1))
    after = np.concatenate([whole, between, gone], axis=2)
    deletion = {name: after[:, 2 * i] for i, name in enumerate(RANKINGS)}
    insertion = {name: after[:, 2 * i + 1, ::-1] for i, name in enumerate(RANKINGS)}
    deletion["random"] = (after[:, 2] + after[:, 3]) / 2
    insertion["random"] = deletion["random"][:, ::-1]
    return {"deletion": deletion, "insertion": insertion}


def _road_curves(
    predict: Predict,
    images: Tensor,
    classes: Sequence[int],
    orders: NDArray[np.int64],
    cells: int,
    batch_size: int,
    seed: int,
) -> tuple[Curves, Curves]:
    """MoRF and LeRF."""
    taken = np.array([max(1, min(cells**2 - 1, round(share * cells**2))) for share in ROAD_FRACTIONS])
    states = _prefixes(orders, taken)
    pixels = images.detach().cpu().numpy()
    random = np.random.default_rng([seed, len(images)])

    def fill(rows: NDArray[np.int64], removed: NDArray[np.bool_]) -> Tensor:
        pairs = zip(rows, removed, strict=True)
        filled = np.stack([impute_cells(pixels[row], gone, cells, random) for row, gone in pairs])
        return torch.from_numpy(filled).to(images)

    flat = states.reshape(len(images), -1, cells**2)
    after = _ask(predict, classes, flat, fill, batch_size, "ROAD, batches").reshape(states.shape[:3])
    morf = {name: after[:, 2 * i] for i, name in enumerate(RANKINGS)}
    lerf = {name: after[:, 2 * i + 1] for i, name in enumerate(RANKINGS)}
    morf["random"] = lerf["random"] = (after[:, 2] + after[:, 3]) / 2
    return morf, lerf


def _ask(
    predict: Predict,
    classes: Sequence[int],
    states: NDArray[np.bool_],
    change: Callable[[NDArray[np.int64], NDArray[np.bool_]], Tensor],
    batch_size: int,
    what: str,
) -> NDArray[np.float64]:
    """(N, M) probabilities of N photos' classes in M states each, given as removed cells (N, M, cells²)."""
    photos = np.repeat(np.arange(len(states)), states.shape[1])
    removed = states.reshape(len(photos), -1)
    labels = np.array([int(label) for label in classes])[photos]

    def parts() -> Iterator[NDArray[np.float64]]:
        for start in track(range(0, len(photos), batch_size), what):
            batch = slice(start, start + batch_size)
            with torch.no_grad():
                answer = predict(change(photos[batch], removed[batch])).double().cpu().numpy()
            if labels.min() < 0 or labels.max() >= answer.shape[1]:
                raise ValueError(f"classes {sorted(set(labels.tolist()))}: predict gives {answer.shape[1]}")
            yield answer[np.arange(len(answer)), labels[batch]]

    return np.concatenate(list(parts())).reshape(states.shape[:2])


def _means(curves: Curves) -> dict[str, list[float]]:
    return {name: values.mean(axis=0).tolist() for name, values in curves.items()}


def _intervals(scores: Curves, groups: Sequence[str] | None) -> dict[str, Any]:
    return {name: mean_interval(values, groups) for name, values in scores.items()}


def _differences(scores: Curves, groups: Sequence[str] | None) -> dict[str, Any]:
    others = ("random", "center")
    return {f"cam_minus_{name}": mean_interval(scores["cam"] - scores[name], groups) for name in others}

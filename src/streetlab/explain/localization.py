"""Measure the share of a map that lies on known evidence, such as the litter of a drawn street."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from streetlab.explain.cells import center_map
from streetlab.metrics.statistics.mean_interval import mean_interval


def score_localization(
    maps: NDArray[np.floating],
    masks: NDArray[np.bool_],
    groups: Sequence[str] | None = None,
    tolerance: float = 0,
) -> dict[str, Any]:
    """Measure each map's share on the masks, beside a centred Gaussian and a constant map.

    - energy: the share of a map's sum that lies in the mask;
    - pointing: whether the map's maximum lies in the mask or at most `tolerance` pixels beside it (the pointing
      game, Zhang et al. 2016, arXiv:1608.00507, with 15 pixels); of several maxima, the share that does;
    - lift: energy divided by the mask's share of the photo, which is what a uniform map has; 1 is chance.

    Photos with an empty mask have no right place and are left out. A map of zeros points nowhere and is scored as
    the uniform one.

    Args:
        maps: (N, H, W), nothing negative.
        masks: (N, H, W).
        groups: what each photo shows, for the intervals.
        tolerance: in pixels.

    Returns:
        `n` photos that count, `empty` masks left out, `silent` maps of zeros among the n, `tolerance`; and where n
        is above 0: `area` (the masks' mean share of the photo), `energy` and `pointing`, each with `cam`, `center`,
        `uniform`, `cam_minus_center` and `cam_minus_uniform`, and `lift` with `cam`, `center`, `cam_minus_center`
        and `median` (of the maps', a number: small masks make some lifts very large). Each of the others is
        `{"mean", "interval"}`, see `mean_interval`; differences are paired by photo.

    Raises:
        ValueError: maps and masks of different shape, or a map with negative or infinite values.
    """
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape}: both (N, H, W)")
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise ValueError("maps have values that are negative or not finite")
    masks = masks.astype(bool)
    there = np.asarray(masks.any(axis=(1, 2)))
    found: dict[str, Any] = {"n": int(there.sum()), "empty": int((~there).sum())}
    silent = ~maps.any(axis=(1, 2))
    found |= {"silent": int((silent & there).sum()), "tolerance": tolerance}
    if not there.any():
        return found
    kept = None if groups is None else [group for group, wanted in zip(groups, there, strict=True) if wanted]
    uniform = np.ones(maps.shape[1:])
    center = center_map(*maps.shape[1:])
    areas = masks[there].mean(axis=(1, 2))
    energies, pointings = [], []
    for values, mask in zip(maps[there], masks[there], strict=True):
        near = distance_transform_edt(~mask) <= tolerance if tolerance else mask
        sides = (values.astype(np.float64) if values.any() else uniform, center, uniform)
        energies.append([float(side[mask].sum() / side.sum()) for side in sides])
        pointings.append([float(near[side == side.max()].mean()) for side in sides])
    energy = dict(zip(("cam", "center", "uniform"), np.transpose(energies), strict=True))
    found["area"] = mean_interval(areas, kept)
    found["energy"] = _summarize(energy, kept)
    found["pointing"] = _summarize(dict(zip(energy, np.transpose(pointings), strict=True)), kept)
    lifts = {name: energy[name] / areas for name in ("cam", "center")}
    found["lift"] = _summarize(lifts, kept) | {"median": float(np.median(lifts["cam"]))}
    return found


def _summarize(scores: Mapping[str, NDArray[np.float64]], groups: Sequence[str] | None) -> dict[str, Any]:
    """Means of each side, and of the paired differences of `cam` to the others."""
    means = {name: mean_interval(values, groups) for name, values in scores.items()}
    others = [name for name in scores if name != "cam"]
    return means | {f"cam_minus_{name}": mean_interval(scores["cam"] - scores[name], groups) for name in others}

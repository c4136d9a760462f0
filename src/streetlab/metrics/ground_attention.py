"""Compare a class activation map with the ground that a segmentation finds in the same photo."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ground_attention(activation: NDArray[Any], ids: NDArray[np.uint8], ground: Iterable[int]) -> dict[str, Any]:
    """Measure how a class activation map and the ground overlap.

    Args:
        activation: (H, W); negative values are evidence against the class and count as 0.
        ids: (H, W) class ids of a segmentation of the same photo.
        ground: the ids of ground, see `class_roles.ground_classes`.

    Returns:
        `on_ground`: the share of the map's sum that lies on ground, None for a map of zeros; `ground_looked_at`:
        the share of ground pixels where the map is at least half its maximum, None where there is no ground (0
        for a map of zeros); `ground`: the share of the photo that is ground, which is what `on_ground` is for a
        map that is the same everywhere.

    Raises:
        ValueError: the two differ in shape.
    """
    if activation.shape != ids.shape or ids.ndim != 2:
        raise ValueError(f"activation {activation.shape} and ids {ids.shape}: both (H, W)")
    is_ground = np.isin(ids, list(ground))
    heat = np.maximum(activation, 0)
    total, most = float(heat.sum(dtype=np.float64)), float(heat.max(initial=0))
    looked_at = heat >= most / 2 if most > 0 else np.zeros(heat.shape, bool)
    return {
        "on_ground": float(heat[is_ground].sum(dtype=np.float64)) / total if total > 0 else None,
        "ground_looked_at": float(looked_at[is_ground].mean()) if is_ground.any() else None,
        "ground": float(is_ground.mean()) if is_ground.size else 0.0,
    }

"""Heat maps over photos: where a network looked."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.viz.masks import photo_at


def heat_overlay(image: Image.Image | NDArray[np.uint8], heat: NDArray[Any], alpha: float = 0.7) -> NDArray[np.uint8]:
    """(H, W, 3) photo with the heat's colours over it; where the heat is 0 the photo shows as it is.

    Args:
        image: the photo; one of another size is resized to the map's.
        heat: (H, W), 0 to 1. Maps that are to be compared are divided by one number, not each by its own maximum.
        alpha: weight of the colour where the heat is 1.

    Raises:
        ValueError: the map is not two-dimensional, or holds values outside 0..1.
    """
    values = np.asarray(heat, dtype=np.float32)
    if values.ndim != 2 or not (values.size and values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"heat: shape {values.shape} with values outside 0..1; expected (H, W) of 0 to 1")
    photo = photo_at(image, values.shape).astype(np.float32)
    colors = matplotlib.colormaps["inferno"](values)[..., :3].astype(np.float32) * 255
    weight = (alpha * values)[..., None]
    return np.rint(photo * (1 - weight) + colors * weight).astype(np.uint8)

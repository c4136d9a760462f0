"""Draw heat maps over photos."""

from __future__ import annotations

from functools import cache
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.plots.masks import photo_at

_STRONGEST = 0.8
"""How much of the photo the hottest places hide."""
_DARKEST = 0.25
"""Where in `inferno` the colours begin: its black would look like a shadow of the photo's own."""


@cache
def heat_colors() -> NDArray[np.uint8]:
    """(256, 4) RGBA of a heat of 0 to 1: transparent at 0, purple where it is little, yellow at 1.

    Opacity grows faster than the heat (its power of 0.6), or half the heat would be hard to see.
    """
    values = np.linspace(0, 1, 256)
    table = matplotlib.colormaps["inferno"](_DARKEST + (1 - _DARKEST) * values)
    table[:, 3] = _STRONGEST * values**0.6
    table = np.rint(table * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def heat_overlay(image: Image.Image | NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) photo with the heat's colours over it; where the heat is 0 the photo shows as it is.

    Args:
        image: the photo; one of another size is resized to the map's.
        heat: (H, W), 0 to 1. Maps that are to be compared are divided by one number, not each by its own maximum.

    Raises:
        ValueError: the map is not two-dimensional, or holds values outside 0..1.
    """
    values = np.asarray(heat, dtype=np.float32)
    if values.ndim != 2 or not (values.size and values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"heat: shape {values.shape} with values outside 0..1; expected (H, W) of 0 to 1")
    photo = photo_at(image, values.shape).astype(np.float32)
    colors = heat_colors()[np.rint(values * 255).astype(np.uint8)].astype(np.float32)
    weight = colors[..., 3:] / 255
    return np.rint(photo * (1 - weight) + colors[..., :3] * weight).astype(np.uint8)

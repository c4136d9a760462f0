"""A pinhole camera above a flat street: x to the right, z ahead, both in metres from the camera's foot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetlab.synthetic.raster import Point
from streetlab.synthetic.rng import Rng

FARTHEST = 300.0
"""Depth in metres beyond which nothing is told apart."""


@dataclass(frozen=True)
class Camera:
    """`focal`, `horizon` (row) and `center` (column of the vanishing point) in pixels; `above` in metres."""

    height: int
    width: int
    focal: float
    horizon: float
    center: float
    above: float

    def scale(self, z: float) -> float:
        """Pixels per metre at depth z."""
        return self.focal / z

    def foot(self, x: float, z: float) -> Point:
        """Column and row of a point on the ground."""
        return self.center + x * self.focal / z, self.horizon + self.above * self.focal / z

    def depth_of_row(self, row: float) -> float:
        return self.above * self.focal / max(row - self.horizon, 1e-3)

    @property
    def nearest(self) -> float:
        """Depth of the lowest row of pixels."""
        return self.depth_of_row(self.height - 0.5)

    def ground_rows(self) -> np.ndarray:
        """Rows whose centre shows ground rather than sky."""
        first = min(int(self.horizon + 0.5) + 1, self.height - 1)
        return np.arange(first, self.height)


def place_camera(rng: Rng, height: int, width: int) -> Camera:
    """Draw where a camera stands and where it looks, for an image of this size in pixels."""
    focal = min(height, 0.75 * width) * rng.between(1.45, 2.1)
    return Camera(
        height=height,
        width=width,
        focal=focal,
        horizon=height * rng.between(0.34, 0.47),
        center=width * rng.between(0.34, 0.66),
        above=rng.between(1.35, 1.9),
    )

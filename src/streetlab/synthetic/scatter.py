"""Scatter objects on the ground until a wanted share is covered: harmless clutter first, litter last."""

from __future__ import annotations

import math

import numpy as np

from streetlab.synthetic.camera import Camera
from streetlab.synthetic.items import (
    HARMLESS_KINDS,
    LITTER_KINDS,
    RADII,
    RISES,
    UPRIGHT,
    VARIANTS,
    item_palette,
    item_sprite,
)
from streetlab.synthetic.light import Light
from streetlab.synthetic.raster import Canvas, Patch, Point, patch, texels
from streetlab.synthetic.rng import Rgb, Rng

GROUND_LABELS = (0, 1, 9)
"""Train ids of road, sidewalk and terrain."""


def is_ground(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool."""
    return (mask == 0) | (mask == 1) | (mask == 9)


class Layer:
    """Objects of one kind on the visible ground; `cover` (H, W) bool marks their pixels."""

    def __init__(self, canvas: Canvas, camera: Camera, light: Light, rng: Rng) -> None:
        self.canvas, self.camera, self.light, self.rng = canvas, camera, light, rng
        self.ground = is_ground(canvas.mask)
        self.cover = np.zeros(canvas.mask.shape, bool)
        self.pixels = 0
        self.total = max(1, int(np.count_nonzero(self.ground)))
        self.rows, self.columns = np.nonzero(self.ground)

    @property
    def share(self) -> float:
        return self.pixels / self.total

    def spot(self) -> Point:
        """A random position on the visible ground, as column and row."""
        at = self.rng.integer(len(self.rows))
        return float(self.columns[at]) + 0.5, float(self.rows[at]) + 0.5

    def put(self, kind: str, at: Point, size: float, most: int, fade: float) -> bool:
        """Draw one piece unless it would cover more than `most` further pixels.

        Args:
            size: factor on the kind's own size.
            fade: how much of the ground's own colour it takes on (0 = none).
        """
        rng, camera = self.rng, self.camera
        z = min(camera.depth_of_row(at[1]), 200.0)
        low, high = RADII[kind]
        radius = rng.between(low, high) * size * camera.scale(z)
        litter = kind in LITTER_KINDS
        # far pieces stay a few pixels wide, near ones do not fill the picture
        least, largest = (0.027, 0.09) if litter else (0.01, 0.16)
        radius = min(max(radius, least * camera.height * min(size, 1.0)), largest * camera.height)
        flat = min(max(camera.above / z, 0.12), 0.6)
        squash = max(flat, RISES.get(kind, 0.0))
        angle = rng.between(-0.4, 0.4) if kind in UPRIGHT else rng.between(0, 2 * math.pi)
        if kind in ("patch", "marking") and rng.chance(0.7):
            angle = rng.pick((0.0, math.pi / 2, math.pi))
        mirror = rng.pick((-1.0, 1.0))
        box = patch(self.ground.shape, at, (radius, radius), angle, squash)
        sprite = item_sprite(kind, rng.integer(VARIANTS))
        if box is None:
            return False
        if mirror < 0:
            box = Patch(box.rows, box.columns, -box.u, box.v)
        parts, shade = texels(sprite, box)
        where = (parts > 0) & self.ground[box.rows, box.columns]
        added = int(np.count_nonzero(where & ~self.cover[box.rows, box.columns]))
        if added == 0 or added > most:
            return False
        if kind in RISES:
            self._shadow(at, radius, squash)
        under = self.canvas.color[:, box.rows, box.columns]
        column, row = min(int(at[0]), self.camera.width - 1), min(int(at[1]), self.camera.height - 1)
        lit = self.light.on(0.75)
        base = self.canvas.color[:, row, column] / lit
        ground: Rgb = (float(base[0]), float(base[1]), float(base[2]))
        air = self.light.air / np.maximum(lit, np.float32(0.05))
        colors = item_palette(rng, kind, ground, (float(air[0]), float(air[1]), float(air[2])))
        colors, haze = self.light.lit(colors, z, 0.7)
        drawn = colors.take(parts, axis=1) * shade + haze[:, None, None]
        drawn += (under - drawn) * np.float32(fade)
        np.copyto(under, drawn, where=where)
        self.cover[box.rows, box.columns] |= where
        self.pixels += added
        return True

    def _shadow(self, at: Point, radius: float, squash: float) -> None:
        """Darken the ground in the shadow of an object."""
        side = self.light.shadow[0] * 0.35 if self.light.kind == "sun" else 0.0
        below = patch(
            self.ground.shape,
            (at[0] + radius * side, at[1] + radius * squash * 0.28),
            (radius * 1.05, radius * 0.8),
            0.0,
            squash,
        )
        if below is None:
            return
        dark = ((1 - (below.u * below.u + below.v * below.v)) * np.float32(1.8)).clip(0, 1)
        dark *= self.ground[below.rows, below.columns] & ~self.cover[below.rows, below.columns]
        self.canvas.color[:, below.rows, below.columns] *= 1 - np.float32(0.5) * dark


def scatter_harmless(canvas: Canvas, camera: Camera, light: Light, rng: Rng, share: float) -> None:
    """Leaves, puddles, patches and the like until they cover about `share` of the ground."""
    layer = Layer(canvas, camera, light, rng)
    favourite = rng.pick(HARMLESS_KINDS)
    for _ in range(120):
        if layer.share >= share:
            return
        kind = favourite if rng.chance(0.4) else rng.pick(HARMLESS_KINDS)
        fade = rng.between(0.3, 0.65) if kind != "puddle" else rng.between(0.4, 0.7)
        layer.put(kind, layer.spot(), rng.between(0.7, 1.2), layer.total // 25 + 4, fade)


def scatter_litter(canvas: Canvas, camera: Camera, light: Light, rng: Rng, band: tuple[float, float]) -> np.ndarray:
    """Litter that covers a share of the visible ground within `band`: (H, W) bool."""
    layer = Layer(canvas, camera, light, rng)
    low, high = math.ceil(band[0] * layer.total), math.floor(band[1] * layer.total)
    goal = low + (high - low) * rng.between(0.0, 0.8)
    pile: Point | None = None
    size = 1.0
    for attempt in range(250):
        if layer.pixels >= goal or high <= 0:
            break
        if pile is None or rng.chance(0.3):
            pile = layer.spot() if rng.chance(0.35 if band[0] > 0.03 else 0.1) else None
        spot = layer.spot()
        if pile is not None:
            reach = 0.07 * camera.height
            spot = (pile[0] + rng.between(-2, 2) * reach, pile[1] + rng.between(-0.6, 0.6) * reach)
        if (
            not layer.put(rng.pick(LITTER_KINDS), spot, size, high - layer.pixels, rng.between(0.0, 0.08))
            and attempt > 60
        ):
            size = max(size * 0.93, 0.2)
    while layer.pixels < low:
        # scraps: only pictures of very few pixels come here
        column, row = (int(value) for value in layer.spot())
        if not layer.cover[row, column]:
            layer.cover[row, column] = True
            layer.pixels += 1
            canvas.color[:, row, column] = light.on(0.7) * np.float32(0.6)
    return layer.cover

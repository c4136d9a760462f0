"""The pretext task: a close-up of the ground with one thing on it, named by its kind."""

from __future__ import annotations

import math

import numpy as np

from streetlab.synthetic.items import LITTER_KINDS, UPRIGHT, VARIANTS, item_palette, item_sprite
from streetlab.synthetic.light import sample_light
from streetlab.synthetic.raster import Patch, patch, texels
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.sensor import expose
from streetlab.synthetic.texture import noise, sample

ITEM_STREAM = 2
ITEM_KINDS: tuple[str, ...] = (*LITTER_KINDS, "leaves", "manhole", "marking", "puddle")
"""Six kinds of litter, then four harmless things."""


def draw_item(seed: int, size: int = 96) -> tuple[np.ndarray, int]:
    """One close-up: (size, size, 3) uint8 and the index of its kind in `ITEM_KINDS`."""
    rng = Rng(ITEM_STREAM, seed)
    kind = rng.integer(len(ITEM_KINDS))
    name = ITEM_KINDS[kind]
    light = sample_light(rng)
    ground: Rgb = rng.near(
        rng.pick(((0.14, 0.14, 0.14), (0.3, 0.28, 0.25), (0.12, 0.2, 0.06), (0.34, 0.24, 0.18))), 0.4
    )
    color = _draw_ground(size, ground, rng) * light.on(rng.between(0.2, 0.9))[:, None, None]
    radius = size * rng.between(0.2, 0.46)
    reach = size / 2 - radius * 0.7
    at = (size / 2 + rng.between(-1, 1) * reach, size / 2 + rng.between(-1, 1) * reach)
    angle = rng.between(-0.4, 0.4) if name in UPRIGHT else rng.between(0, 2 * math.pi)
    squash = rng.between(0.6, 1.0)
    box = patch((size, size), at, (radius, radius), angle, squash)
    if box is not None:
        if rng.chance(0.5):
            box = Patch(box.rows, box.columns, -box.u, box.v)
        if name in LITTER_KINDS:
            side = rng.between(-0.3, 0.3)
            below = patch(
                (size, size),
                (at[0] + radius * side, at[1] + radius * squash * 0.3),
                (radius, radius * 0.75),
                0.0,
                squash,
            )
            if below is not None:
                dark = ((1 - (below.u * below.u + below.v * below.v)) * np.float32(1.8)).clip(0, 1)
                color[:, below.rows, below.columns] *= 1 - np.float32(0.5) * dark
        parts, shade = texels(item_sprite(name, rng.integer(VARIANTS)), box)
        air = (float(light.air[0]), float(light.air[1]), float(light.air[2]))
        colors = item_palette(rng, name, ground, air) * light.on(0.7)[:, None]
        under = color[:, box.rows, box.columns]
        drawn = colors.take(parts, axis=1) * shade
        drawn += (under - drawn) * np.float32(rng.between(0.0, 0.25))
        np.copyto(under, drawn, where=parts > 0)
    return expose(color, rng), kind


def _draw_ground(size: int, ground: Rgb, rng: Rng) -> np.ndarray:
    """(3, size, size) float32 of asphalt, slabs or soil."""
    step = np.float32(rng.between(0.6, 2.0) * 96 / size)
    rows = np.arange(size, dtype=np.float32)[:, None] * step + np.float32(rng.between(0, 256))
    columns = np.arange(size, dtype=np.float32)[None, :] * step + np.float32(rng.between(0, 256))
    shade = 1 + np.float32(rng.between(0.08, 0.3)) * sample(noise(4, 1), rows, columns)
    shade += np.float32(rng.between(0.05, 0.25)) * sample(noise(64, 8), rows, columns)
    if rng.chance(0.5):
        wide = np.float32(rng.between(14, 60))
        joint = (rows % wide < np.float32(2)) | ((columns + np.floor(rows / wide) * wide / 2) % wide < np.float32(2))
        shade *= 1 - np.float32(rng.between(0.2, 0.45)) * joint
    return np.array(ground, np.float32)[:, None, None] * shade

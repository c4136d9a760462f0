"""People, riders, bicycles and motorcycles as sprites."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streetlab.synthetic.raster import Sketch, Sprite, palette
from streetlab.synthetic.rng import Rgb, Rng

PERSON, RIDER, MOTORCYCLE, BICYCLE = 11, 12, 17, 18
SKIN, HAIR, TOP, LEGS, SHOES, BAG = 1, 2, 3, 4, 5, 6
FRAME, WHEEL = 7, 8
VARIANTS = 10


def _classes(body: int, ride: int) -> list[int]:
    return [body] * 6 + [ride] * 2


@lru_cache(maxsize=64)
def person_sprite(variant: int) -> Sprite:
    """A walking or standing person, 1.75 m tall; variants differ in stride, arms, skirt, coat and bag."""
    rng = Rng(31, variant)
    sketch = Sketch(-0.55, 0.0, 1.1, 1.8)
    stride = rng.between(0.0, 0.32)
    hip = 0.88
    for sign, shade in ((1, 0.75), (-1, 1.0)):
        knee = (sign * stride * 0.6, 0.46)
        foot = (sign * stride * (0.9 if sign > 0 else 1.0), 0.06)
        sketch.line((sign * 0.08, hip), knee, 0.17, LEGS, shade)
        sketch.line(knee, foot, 0.13, LEGS, shade)
        sketch.box(foot[0] - 0.08, 0.0, foot[0] + 0.14, 0.09, SHOES, shade)
    if rng.chance(0.3):
        sketch.polygon([(-0.17, 0.95), (0.17, 0.95), (0.28, 0.5), (-0.28, 0.5)], LEGS, 1.0, 0.8)
    swing = rng.between(-0.25, 0.25)
    sketch.line((0.2, 1.38), (0.25 + swing, 0.9), 0.11, TOP, 0.7)
    coat = rng.between(0.55, 0.9)
    sketch.polygon(
        [(-0.22, 1.42), (-0.12, 1.5), (0.12, 1.5), (0.22, 1.42), (0.21, coat), (-0.21, coat)], TOP, 1.05, 0.8
    )
    sketch.line((-0.2, 1.38), (-0.25 - swing, 0.9), 0.11, TOP, 0.9)
    sketch.ellipse(-0.25 - swing, 0.86, 0.06, 0.07, SKIN)
    if rng.chance(0.4):
        side = rng.pick((-1, 1))
        sketch.polygon(
            [(side * 0.18, 0.95), (side * 0.42, 0.95), (side * 0.44, 0.6), (side * 0.16, 0.6)], BAG, 1.0, 0.7
        )
    elif rng.chance(0.4):
        sketch.ellipse(-0.2, 1.2, 0.14, 0.24, BAG, 1.0, 0.2)
    sketch.box(-0.06, 1.46, 0.06, 1.58, SKIN, 0.85)
    sketch.ellipse(0.0, 1.64, 0.11, 0.14, SKIN, 1.0, 0.15)
    sketch.ellipse(-0.02, 1.7, 0.12, 0.1, HAIR, 1.0, 0.2)
    if rng.chance(0.35):
        sketch.box(-0.13, 1.45, -0.05, 1.7, HAIR)
    return sketch.sprite(_classes(PERSON, BICYCLE))


def _bicycle(sketch: Sketch) -> None:
    for x in (-0.52, 0.52):
        sketch.ellipse(x, 0.34, 0.34, 0.34, WHEEL)
        sketch.ellipse(x, 0.34, 0.27, 0.27, 0)
        for dx, dy in ((0.26, 0.0), (0.0, 0.26), (0.18, 0.18), (0.18, -0.18)):
            sketch.line((x - dx, 0.34 - dy), (x + dx, 0.34 + dy), 0.012, WHEEL, 1.8)
    for start, end in (
        ((-0.52, 0.34), (-0.12, 0.36)), ((-0.52, 0.34), (-0.2, 0.8)), ((-0.12, 0.36), (-0.25, 0.92)),
        ((-0.2, 0.8), (0.34, 0.84)), ((-0.12, 0.36), (0.36, 0.78)), ((0.52, 0.34), (0.32, 1.0)),
        ((0.22, 1.02), (0.42, 1.0)),
    ):  # fmt: skip
        sketch.line(start, end, 0.05, FRAME)
    sketch.box(-0.36, 0.9, -0.14, 0.96, FRAME, 0.4)


def _motorcycle(sketch: Sketch) -> None:
    for x in (-0.62, 0.62):
        sketch.ellipse(x, 0.31, 0.31, 0.31, WHEEL)
        sketch.ellipse(x, 0.31, 0.15, 0.15, WHEEL, 4.0)
    sketch.polygon(
        [(-0.75, 0.78), (-0.1, 0.74), (0.1, 0.9), (0.45, 0.86), (0.5, 0.5), (0.2, 0.28), (-0.3, 0.28)],
        FRAME,
        1.1,
        0.6,
    )
    sketch.ellipse(-0.05, 0.42, 0.2, 0.16, WHEEL, 3.0, 0.3)
    sketch.box(-0.7, 0.74, -0.05, 0.84, WHEEL, 1.5)
    sketch.line((0.62, 0.31), (0.36, 0.98), 0.08, FRAME, 0.7)
    sketch.line((0.26, 1.04), (0.42, 0.98), 0.06, WHEEL)
    sketch.ellipse(0.52, 0.84, 0.11, 0.1, FRAME, 1.8)


@lru_cache(maxsize=64)
def cycle_sprite(motor: bool, ridden: bool, variant: int) -> Sprite:
    """A bicycle or motorcycle from the side, with or without its rider (two classes in one sprite)."""
    rng = Rng(37, variant)
    sketch = Sketch(-1.0, 0.0, 2.0, 1.85 if ridden else 1.15, rows=112 if ridden else 80)
    (_motorcycle if motor else _bicycle)(sketch)
    if ridden:
        seat = 0.84 if motor else 0.98
        lean = rng.between(0.05, 0.25)
        pedal = rng.between(-0.1, 0.1)
        neck, top = -0.2 + lean, seat + 0.52
        sketch.line((-0.25, seat), (0.12, seat - 0.2), 0.17, LEGS)
        sketch.line((0.12, seat - 0.2), (-0.05 + pedal, 0.28), 0.13, LEGS, 0.9)
        sketch.box(-0.12 + pedal, 0.2, 0.12 + pedal, 0.29, SHOES)
        sketch.polygon(
            [(-0.4, seat - 0.05), (-0.1, seat - 0.05), (neck + 0.16, top), (neck - 0.18, top)],
            TOP, 1.1, 0.75,
        )  # fmt: skip
        sketch.line((neck + 0.05, top - 0.06), (0.3, 1.02), 0.11, TOP, 0.85)
        sketch.ellipse(neck + 0.06, top + 0.16, 0.11, 0.14, SKIN)
        helmet = (0.15, 0.15, 0.02) if motor else (0.13, 0.09, 0.06)
        sketch.ellipse(neck + 0.05, top + 0.17 + helmet[2] / 2, helmet[0], helmet[1], HAIR, 1.0, 0.2)
    return sketch.sprite(_classes(RIDER, MOTORCYCLE if motor else BICYCLE))


def clothes_palette(rng: Rng) -> np.ndarray:
    """Skin, hair, top, legs, shoes, bag, frame, wheel."""
    skin: Rgb = rng.near(rng.pick(((0.5, 0.32, 0.22), (0.3, 0.17, 0.1), (0.12, 0.07, 0.04))), 0.2)
    hair = rng.near(rng.pick(((0.03, 0.02, 0.02), (0.2, 0.12, 0.05), (0.3, 0.28, 0.26), (0.45, 0.1, 0.1))), 0.3)
    top = rng.pick((rng.color(0.02, 0.6), rng.gray(0.02, 0.08), rng.gray(0.3, 0.6)))
    legs = rng.pick(((0.04, 0.06, 0.13), rng.gray(0.02, 0.1), rng.color(0.03, 0.4)))
    frame = rng.color(0.02, 0.5)
    wheel = rng.gray(0.02, 0.05)
    return palette([skin, hair, top, legs, rng.gray(0.02, 0.5), rng.color(0.02, 0.5), frame, wheel])

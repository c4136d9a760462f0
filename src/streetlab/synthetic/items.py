"""Small objects on the ground, seen from above: litter of six kinds and harmless objects that look alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streetlab.synthetic.raster import Point, Sketch, Sprite, palette, turn
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.texture import noise

LITTER_KINDS = ("bag", "bottle", "can", "cup", "paper", "box")
HARMLESS_KINDS = ("leaves", "manhole", "marking", "puddle", "patch", "weeds")
VARIANTS = 16
"""Shapes per kind; size, angle, mirroring, squash and colours come on top."""

RADII = {  # half length in metres, a little larger than life so that a piece spans several pixels
    "bag": (0.26, 0.46), "bottle": (0.26, 0.38), "can": (0.18, 0.26), "cup": (0.19, 0.27),
    "paper": (0.22, 0.36),
    "box": (0.25, 0.45), "leaves": (0.35, 0.85), "manhole": (0.3, 0.42), "marking": (0.4, 0.9),
    "puddle": (0.4, 1.1), "patch": (0.4, 1.2), "weeds": (0.25, 0.5),
}  # fmt: skip
RISES = {"bag": 0.75, "bottle": 0.45, "can": 0.6, "cup": 0.7, "paper": 0.3, "box": 0.65, "weeds": 0.4}
"""How high each stands for its length; flat things are absent. It bounds the foreshortening from below."""
UPRIGHT = ("bag", "cup", "box", "weeds")
"""Kinds whose shape has an up and a down: they turn a little instead of all around."""


def _blob(rng: Rng, low: float, high: float, corners: int) -> list[Point]:
    points = []
    for k in range(corners):
        c, s = turn(6.283185 * k / corners)
        r = rng.between(low, high)
        points.append((c * r, s * r))
    return points


def _bag(sketch: Sketch, rng: Rng) -> None:
    sketch.polygon([(x, y * 0.8 - 0.15) for x, y in _blob(rng, 0.68, 0.95, 11)], 1, 1.1, 0.65)
    knot = rng.between(-0.3, 0.3)
    for side in (-1, 1):
        tip = (knot + side * rng.between(0.15, 0.5), rng.between(0.75, 0.98))
        sketch.polygon(
            [(knot - 0.12, 0.35), (knot + 0.12, 0.35), (tip[0] + 0.1, tip[1]), (tip[0] - 0.1, tip[1])],
            1,
            0.95,
        )
    for _ in range(4):
        start = (knot + rng.between(-0.1, 0.1), 0.4)
        sketch.line(start, (rng.between(-0.6, 0.6), rng.between(-0.7, 0.1)), 0.05, 1, rng.pick((0.6, 1.35)))
    if rng.chance(0.4):
        sketch.polygon([(-0.3, -0.45), (0.25, -0.5), (0.3, 0.0), (-0.25, 0.05)], 2)
    sketch.speckle(noise(16, 2), 0.16)


def _bottle(sketch: Sketch, rng: Rng) -> None:
    r = rng.between(0.24, 0.32)
    sketch.polygon([(-0.92, -r), (0.25, -r), (0.6, -0.1), (0.6, 0.1), (0.25, r), (-0.92, r)], 1, 1.0, 0.6)
    sketch.box(0.55, -0.09, 0.8, 0.09, 1, 0.8)
    sketch.box(0.78, -0.12, 0.95, 0.12, 3)
    if rng.chance(0.8):
        start = rng.between(-0.65, -0.4)
        sketch.polygon([(start, -r), (start + 0.5, -r), (start + 0.5, r), (start, r)], 2, 1.1, 0.7)
    sketch.line((-0.85, r * 0.45), (0.25, r * 0.45), 0.07, 1, 2.2)
    sketch.box(-0.92, -r, -0.85, r, 1, 0.6)


def _can(sketch: Sketch, rng: Rng) -> None:
    r = 0.48
    dent = rng.between(0.0, 0.22)
    sketch.polygon([(-0.75, -r), (0.0, -r + dent), (0.75, -r), (0.75, r), (0.1, r - dent), (-0.75, r)], 1, 1.15, 0.55)
    sketch.polygon([(-0.3, -r + dent), (0.2, -r + dent), (0.35, r - dent), (-0.1, r - dent)], 2, 1.1, 0.6)
    sketch.line((-0.7, 0.2), (0.7, 0.2), 0.09, 1, 1.7)
    sketch.ellipse(-0.76, 0.0, 0.16, r, 3, 0.85)
    sketch.ellipse(0.76, 0.0, 0.2, r, 3, 1.1)
    sketch.ellipse(0.78, 0.0, 0.13, r * 0.72, 3, 0.65)
    sketch.ellipse(0.79, 0.05, 0.05, 0.13, 3, 0.2)


def _cup(sketch: Sketch, rng: Rng) -> None:
    sketch.polygon([(-0.4, -0.9), (0.4, -0.9), (0.6, 0.62), (-0.6, 0.62)], 1, 1.1, 0.8)
    sketch.polygon([(0.15, -0.9), (0.4, -0.9), (0.6, 0.62), (0.3, 0.62)], 1, 0.65)
    if rng.chance(0.7):
        sketch.polygon([(-0.46, -0.45), (0.46, -0.45), (0.54, 0.15), (-0.54, 0.15)], 2, 1.0, 0.8)
    if rng.chance(0.6):
        sketch.ellipse(0, 0.66, 0.68, 0.24, 3, 1.0)
        sketch.ellipse(0, 0.74, 0.5, 0.14, 3, 1.3)
    else:
        sketch.ellipse(0, 0.64, 0.62, 0.24, 1, 1.25)
        sketch.ellipse(0, 0.62, 0.5, 0.16, 1, 0.35)
    if rng.chance(0.4):
        sketch.line((0.1, 0.65), (rng.between(-0.2, 0.5), 0.98), 0.08, 2)


def _paper(sketch: Sketch, rng: Rng) -> None:
    corners = [
        (sx * rng.between(0.6, 0.95), sy * rng.between(0.45, 0.9)) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    fold = [rng.between(0.3, 0.7) for _ in range(2)]
    low = tuple(corners[0][i] + (corners[1][i] - corners[0][i]) * fold[0] for i in (0, 1))
    high = tuple(corners[3][i] + (corners[2][i] - corners[3][i]) * fold[1] for i in (0, 1))
    sketch.polygon([corners[0], (low[0], low[1]), (high[0], high[1]), corners[3]], 1, rng.between(0.95, 1.15))
    sketch.polygon([(low[0], low[1]), corners[1], corners[2], (high[0], high[1])], 1, rng.between(0.65, 0.85))
    if rng.chance(0.6):
        for k in range(4):
            y = -0.35 + 0.2 * k
            sketch.line((-0.5, y), (rng.between(0.0, 0.5), y + 0.04), 0.06, 2)
    else:
        sketch.polygon([(-0.4, 0.0), (0.3, -0.05), (0.35, 0.4), (-0.4, 0.4)], 2)
    sketch.speckle(noise(16, 4), 0.08)


def _box(sketch: Sketch, rng: Rng) -> None:
    top, depth = rng.between(-0.05, 0.3), rng.between(0.3, 0.6)
    split = rng.between(-0.2, 0.45)
    sketch.polygon([(-0.85, -0.65), (split, -0.9), (split, top - 0.2), (-0.85, top)], 1, 0.95, 0.75)
    sketch.polygon([(split, -0.9), (0.85, -0.6), (0.85, top + 0.05), (split, top - 0.2)], 1, 0.6, 0.5)
    lid = [(-0.85, top), (split, top - 0.2), (0.85, top + 0.05), (-split * 0.5, top + depth)]
    sketch.polygon(lid, 1, 1.3)
    if rng.chance(0.5):
        sketch.polygon([(x * 0.75, top + 0.06 + (y - top) * 0.75) for x, y in lid], 1, 0.35)
        sketch.polygon([(split, top - 0.2), (0.85, top + 0.05), (0.98, top - 0.25), (split + 0.2, top - 0.5)], 1, 1.2)
    else:
        sketch.line((-0.4, top - 0.08), (0.25, top + depth * 0.55), 0.1, 2)
    if rng.chance(0.5):
        sketch.polygon([(-0.7, -0.45), (split - 0.2, -0.62), (split - 0.2, -0.35), (-0.7, -0.2)], 2)


def _leaves(sketch: Sketch, rng: Rng) -> None:
    for _ in range(26):
        x, y = rng.between(-0.85, 0.85), rng.between(-0.85, 0.85)
        if x * x + y * y > 0.8:
            continue
        c, s = turn(rng.between(0, 6.28))
        a, b = rng.between(0.09, 0.15), rng.between(0.04, 0.07)
        outline = [(a, 0), (a * 0.3, b), (-a * 0.5, b * 0.8), (-a, 0), (-a * 0.5, -b * 0.8), (a * 0.3, -b)]
        leaf = [(x + c * u - s * v, y + s * u + c * v) for u, v in outline]
        sketch.polygon(leaf, rng.pick((1, 2, 3)), rng.between(0.7, 1.2))


def _manhole(sketch: Sketch, rng: Rng) -> None:
    if rng.chance(0.7):
        sketch.ellipse(0, 0, 0.96, 0.96, 2)
        sketch.ellipse(0, 0, 0.86, 0.86, 1)
        for k in range(-3, 4):
            reach = 0.8 - 0.07 * k * k
            sketch.line((-reach, k * 0.22), (reach, k * 0.22), 0.08, 3)
    else:
        sketch.box(-0.95, -0.6, 0.95, 0.6, 2)
        for k in range(8):
            sketch.box(-0.82 + k * 0.21, -0.5, -0.7 + k * 0.21, 0.5, 3)


def _marking(sketch: Sketch, rng: Rng) -> None:
    kind = rng.integer(4)
    if kind == 0:
        sketch.box(-0.12, -0.95, 0.12, 0.3, 1)
        sketch.polygon([(-0.4, 0.25), (0.4, 0.25), (0.0, 0.95)], 1)
    elif kind == 1:
        for k in range(4):
            sketch.polygon(
                [
                    (-0.9 + 0.5 * k, -0.8),
                    (-0.65 + 0.5 * k, -0.8),
                    (-0.45 + 0.5 * k, 0.8),
                    (-0.7 + 0.5 * k, 0.8),
                ],
                1,
            )
    elif kind == 2:
        sketch.box(-0.9, -0.2, 0.9, 0.2, 1)
    else:
        sketch.ellipse(0, 0, 0.9, 0.9, 1)
        sketch.ellipse(0, 0, 0.68, 0.68, 0)
        sketch.box(-0.15, -0.5, 0.15, 0.5, 1)
    worn = np.tile(noise(8, 1), (1, 1))[: sketch.parts.shape[0], : sketch.parts.shape[1]]
    sketch.parts[worn > 0.75] = 0


def _puddle(sketch: Sketch, rng: Rng) -> None:
    sketch.polygon(_blob(rng, 0.72, 1.0, 16), 2)
    sketch.polygon([(x * 0.92, y * 0.92) for x, y in _blob(rng, 0.74, 0.96, 16)], 1, 1.15, 0.8)


def _patch(sketch: Sketch, rng: Rng) -> None:
    w, h = rng.between(0.5, 0.95), rng.between(0.3, 0.95)
    sketch.polygon([(-w, -h), (w, -h * rng.between(0.85, 1)), (w * 0.97, h), (-w, h)], 2)
    sketch.polygon([(-w * 0.94, -h * 0.93), (w * 0.94, -h * 0.8), (w * 0.92, h * 0.92), (-w * 0.94, h * 0.92)], 1)
    sketch.speckle(noise(4, 1), 0.15)


def _weeds(sketch: Sketch, rng: Rng) -> None:
    for _ in range(16):
        x = rng.between(-0.5, 0.5)
        tip = (x * 1.8, rng.between(-0.1, 0.9) * (1 - abs(x)))
        sketch.polygon([(x - 0.08, -0.7), (x + 0.08, -0.7), tip], rng.pick((1, 1, 2)), rng.between(0.7, 1.3))
    if rng.chance(0.4):
        for _ in range(5):
            sketch.ellipse(rng.between(-0.6, 0.6), rng.between(-0.2, 0.6), 0.1, 0.1, 3)


_DRAW = {
    "bag": _bag, "bottle": _bottle, "can": _can, "cup": _cup, "paper": _paper, "box": _box, "leaves": _leaves,
    "manhole": _manhole, "marking": _marking, "puddle": _puddle, "patch": _patch, "weeds": _weeds,
}  # fmt: skip


@lru_cache(maxsize=256)
def item_sprite(kind: str, variant: int) -> Sprite:
    """A thing on the ground in its own square, -1 .. 1."""
    sketch = Sketch(-1.0, -1.0, 2.0, 2.0, rows=64)
    _DRAW[kind](sketch, Rng(61, (*LITTER_KINDS, *HARMLESS_KINDS).index(kind), variant))
    return sketch.sprite([255, 255, 255])


def item_palette(rng: Rng, kind: str, ground: Rgb, sky: Rgb) -> np.ndarray:
    """Three colours of one piece.

    Args:
        ground: albedo of what it lies on; worn paint and repairs stay near it.
        sky: what a puddle mirrors.
    """
    white, metal = rng.gray(0.55, 0.85), rng.gray(0.35, 0.6, 0.03)
    vivid, dark = rng.vivid(), rng.gray(0.02, 0.06)
    red, green, blue = ground

    def tone(low: float, high: float) -> Rgb:
        level = rng.between(low, high)
        return red * level, green * level, blue * level

    if kind == "bag":
        return palette([rng.pick((white, dark, vivid, (0.1, 0.25, 0.5), white)), vivid, dark])
    if kind == "bottle":
        return palette([rng.pick(((0.3, 0.4, 0.42), (0.04, 0.2, 0.07), (0.2, 0.1, 0.03), white)), vivid, rng.color()])
    if kind == "can":
        return palette([vivid, rng.pick((white, dark, rng.color())), metal])
    if kind == "cup":
        return palette(
            [
                rng.pick((white, white, vivid)),
                rng.pick((vivid, (0.25, 0.15, 0.08))),
                rng.pick((white, dark)),
            ]
        )
    if kind == "paper":
        return palette([rng.pick((white, white, rng.near((0.5, 0.42, 0.3)), vivid)), rng.pick((dark, vivid)), dark])
    if kind == "box":
        card = rng.near((0.32, 0.2, 0.11), 0.3)
        return palette([rng.pick((card, card, white, vivid)), rng.pick((vivid, dark, white)), dark])
    if kind == "leaves":
        season = rng.pick((
            ((0.4, 0.2, 0.04), (0.25, 0.1, 0.03), (0.5, 0.34, 0.06)),
            ((0.1, 0.2, 0.04), (0.3, 0.3, 0.05), (0.2, 0.14, 0.04)),
            ((0.4, 0.06, 0.03), (0.5, 0.2, 0.03), (0.2, 0.08, 0.04)),
            ((0.6, 0.5, 0.42), (0.6, 0.36, 0.4), (0.5, 0.45, 0.4)),
        ))  # fmt: skip
        return palette([rng.near(color, 0.3) for color in season])
    if kind == "manhole":
        return palette([tone(0.35, 0.7), tone(0.5, 1.6), tone(0.25, 0.5)])
    if kind == "marking":
        paint = rng.pick(((0.55, 0.55, 0.52), (0.6, 0.42, 0.06), (0.1, 0.2, 0.5), (0.5, 0.1, 0.08), (0.6, 0.6, 0.6)))
        return palette([rng.near(paint, 0.2)] * 3)
    if kind == "puddle":
        return palette([(sky[0] * 0.55, sky[1] * 0.55, sky[2] * 0.55), tone(0.4, 0.6), dark])
    if kind == "patch":
        return palette([tone(0.45, 0.85) if rng.chance(0.55) else tone(1.2, 2.4), tone(0.4, 0.7), dark])
    return palette([rng.near((0.09, 0.17, 0.04), 0.3), rng.near((0.2, 0.22, 0.06), 0.3), rng.color(0.1, 0.7)])

"""Cars, vans, trucks, buses and trams as sprites: boxes in perspective, seen from several sides."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streetlab.synthetic.raster import Point, Sketch, Sprite, palette, ring
from streetlab.synthetic.rng import Rgb, Rng

CLASS_OF = {"hatch": 13, "sedan": 13, "suv": 13, "van": 13, "truck": 14, "bus": 15, "tram": 16}
SIZES = {  # width, length, height in metres
    "hatch": (1.75, 3.9, 1.48), "sedan": (1.8, 4.6, 1.42), "suv": (1.9, 4.5, 1.75), "van": (2.0, 5.0, 2.1),
    "truck": (2.5, 7.5, 3.4), "bus": (2.55, 11.0, 3.1), "tram": (2.5, 14.0, 3.4),
}  # fmt: skip
OFFSETS = (0.0, 1.2, 2.6, 4.5, 8.0)
"""Sideways distances in metres, at `VIEW_DEPTH`, from which each vehicle is drawn once."""
VIEW_DEPTH = 10.0
EYE = 1.6
BODY, GLASS, TYRE, LAMP, TRIM, ROOF = 1, 2, 3, 4, 5, 6


class View:
    """Projects a vehicle's own coordinates (x right, y up, z away) onto its near face's plane."""

    def __init__(self, sketch: Sketch, offset: float) -> None:
        self.sketch, self.offset = sketch, offset

    def at(self, x: float, y: float, z: float) -> Point:
        s = VIEW_DEPTH / (VIEW_DEPTH + z)
        return (self.offset + x) * s - self.offset, (y - EYE) * s + EYE

    def face(
        self, corners: list[tuple[float, float, float]], part: int, shade: float, foot: float | None = None
    ) -> None:
        self.sketch.polygon([self.at(*corner) for corner in corners], part, shade, foot)

    def side(self, x: float, zs: tuple[float, float], ys: tuple[float, float], part: int, shade: float) -> None:
        (z0, z1), (y0, y1) = zs, ys
        self.face([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], part, shade, shade * 0.8)

    def back(self, z: float, xs: tuple[float, float], ys: tuple[float, float], part: int, shade: float) -> None:
        (x0, x1), (y0, y1) = xs, ys
        self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], part, shade, shade * 0.85)

    def wheel(self, x: float, z: float, radius: float) -> None:
        for part, r in ((TYRE, radius), (TRIM, radius * 0.55)):
            self.sketch.polygon([self.at(x, y, zz) for zz, y in ring(z, radius, r, r, 14)], part, 0.9)


@lru_cache(maxsize=128)
def vehicle_sprite(kind: str, view: int) -> Sprite:
    """The vehicle from behind or in front (palettes differ), `OFFSETS[view]` to the right of the eye."""
    width, length, height = SIZES[kind]
    offset = OFFSETS[view]
    drawn = Sketch(-width / 2 - 0.1, 0.0, width + 0.2, height + 0.1)
    probe = View(drawn, offset)
    left = min(-width / 2, probe.at(-width / 2, 0, length)[0]) - 0.1
    top = max(height, probe.at(0, height, length)[1]) + 0.1
    sketch = Sketch(left, 0.0, width / 2 + 0.1 - left, top, rows=112)
    draw = View(sketch, offset)
    if kind in ("hatch", "sedan", "suv"):
        _car(draw, kind, width / 2, length, height)
    else:
        _box(draw, kind, width / 2, length, height)
    return sketch.sprite([CLASS_OF[kind]] * 6)


def _car(draw: View, kind: str, half: float, length: float, height: float) -> None:
    belt = 0.62 * height
    tail = {"hatch": 0.15, "sedan": 0.95, "suv": 0.1}[kind]
    z0, z1 = tail, length - 1.5
    slope = 0.35 if kind != "sedan" else 0.6
    inner = half * 0.8
    draw.face([(-half, 0.12, 0), (half, 0.12, 0), (half, 0.3, 0), (-half, 0.3, 0)], TYRE, 0.5)
    draw.side(-half, (0.05, length), (0.22, belt), BODY, 0.82)
    for z in (0.8, length - 0.85):
        draw.wheel(-half - 0.01, z, 0.33)
    draw.face([(-half, belt, 0.05), (half, belt, 0.05), (half, belt, length), (-half, belt, length)], BODY, 1.15)
    # cabin: side glass, then roof, then the near window
    draw.face(
        [
            (-half, belt, z0), (-half, belt, z1 + 0.5),
            (-inner, height, z1 - 0.2), (-inner, height, z0 + slope),
        ],
        GLASS, 0.9,
    )  # fmt: skip
    for z in (z0 + slope, (z0 + z1) / 2, z1 - 0.1):
        draw.face(
            [(-half, belt, z), (-half, belt, z + 0.1), (-inner, height, z + 0.1), (-inner, height, z)],
            BODY,
            0.85,
        )
    draw.face(
        [
            (-inner, height - 0.07, z0 + slope), (inner, height - 0.07, z0 + slope),
            (inner, height, z1), (-inner, height, z1),
        ],
        ROOF, 1.1,
    )  # fmt: skip
    draw.face(
        [
            (-half, belt, z0), (half, belt, z0), (inner, height - 0.05, z0 + slope),
            (-inner, height - 0.05, z0 + slope),
        ],
        BODY, 0.95,
    )  # fmt: skip
    w, s = half * 0.88, inner * 0.9
    draw.face(
        [
            (-w, belt + 0.04, z0), (w, belt + 0.04, z0),
            (s, height - 0.12, z0 + slope), (-s, height - 0.12, z0 + slope),
        ],
        GLASS, 1.2, 0.8,
    )  # fmt: skip
    draw.back(0, (-half, half), (0.26, belt), BODY, 1.0)
    draw.back(0, (-half, half), (0.26, 0.42), TRIM, 0.45)
    for x in (-half, half * 0.62):
        draw.back(0, (x, x + half * 0.38), (belt - 0.26, belt - 0.08), LAMP, 1.0)
        draw.back(0, (x + half * 0.06, x + half * 0.32), (0.0, 0.28), TYRE, 0.8)
    draw.back(0, (-0.26, 0.26), (0.5, 0.62), TRIM, 1.5)


def _box(draw: View, kind: str, half: float, length: float, height: float) -> None:
    floor = 0.3 if kind != "truck" else 0.95
    draw.side(-half, (0, length), (floor, height), BODY, 0.8)
    wheels = {"van": (0.9, 4.0), "truck": (1.3, 2.4, 6.3), "bus": (2.6, 8.2), "tram": ()}[kind]
    for z in wheels:
        draw.wheel(-half - 0.01, z, 0.34 if kind == "van" else 0.48)
    if kind == "truck":
        draw.side(-half, (5.4, length), (0.6, height * 0.8), TRIM, 0.7)
        draw.back(0, (-half, half), (floor, height), BODY, 1.0)
        draw.back(0, (-0.03, 0.03), (floor, height), TRIM, 0.5)
        for y in (0.25, 0.5, 0.75):
            draw.back(
                0,
                (-half, half),
                (floor + y * (height - floor), floor + y * (height - floor) + 0.04),
                BODY,
                0.75,
            )
        draw.back(0, (-half, half), (floor - 0.3, floor - 0.12), TRIM, 0.6)
        for x in (-half + 0.1, half - 0.6):
            draw.back(0, (x, x + 0.5), (0.0, 0.75), TYRE, 0.8)
            draw.back(0, (x, x + 0.4), (floor - 0.28, floor - 0.08), LAMP, 1.0)
        return
    if kind in ("bus", "tram"):
        draw.side(-half, (0.4, length - 0.2), (1.25, height - 0.5), GLASS, 0.9)
        z = 1.6
        while z < length:
            draw.side(-half, (z, z + 0.14), (1.25, height - 0.5), BODY, 0.7)
            z += 1.5
        if kind == "tram":
            draw.side(-half, (0, length), (0.9, 1.15), TRIM, 1.0)
            draw.side(-half, (0, length), (0.05, 0.32), TYRE, 0.9)
    else:
        draw.side(-half, (length - 2.2, length - 0.9), (1.15, height - 0.35), GLASS, 0.9)
    if height < EYE + 0.6:
        draw.face(
            [(-half, height, 0), (half, height, 0), (half, height, length), (-half, height, length)],
            ROOF,
            1.1,
        )
    draw.back(0, (-half, half), (floor, height), BODY, 1.0)
    sill = {"van": 1.2, "bus": 1.35, "tram": 1.3}[kind]
    draw.back(0, (-half * 0.88, half * 0.88), (sill, height - 0.45), GLASS, 1.1)
    draw.back(0, (-half, half), (floor, floor + 0.25), TRIM, 0.5)
    if kind != "tram":
        draw.back(0, (-0.03, 0.03), (floor, height - 0.3), BODY, 0.7)
        for x in (-half + 0.12, half - 0.45):
            draw.back(0, (x, x + 0.32), (0.0, floor + 0.1), TYRE, 0.8)
    else:
        draw.back(0, (-half * 0.5, half * 0.5), (height - 0.4, height - 0.15), LAMP, 0.7)
        draw.back(0, (-half, half), (0.9, 1.15), TRIM, 1.0)
        draw.back(0, (-half * 0.9, half * 0.9), (0.05, 0.32), TYRE, 0.9)
    for x in (-half + 0.08, half - 0.4):
        draw.back(0, (x, x + 0.32), (floor + 0.45, floor + 0.75), LAMP, 1.0)


def vehicle_palette(rng: Rng, kind: str, oncoming: bool, glowing: bool) -> np.ndarray:
    """Body, glass, tyre, lamp, trim, roof; red lamps belong to the rear."""
    body: Rgb = rng.pick(
        (
            rng.gray(0.5, 0.75, 0.03),
            rng.gray(0.02, 0.06),
            rng.gray(0.2, 0.4, 0.05),
            rng.color(0.02, 0.5),
        )
    )
    if kind in ("bus", "tram"):
        body = rng.pick((rng.color(0.05, 0.7), (0.6, 0.45, 0.05), (0.5, 0.04, 0.04), (0.6, 0.6, 0.58)))
    glass = rng.gray(0.03, 0.09, 0.15)
    lamp: Rgb = (0.75, 0.75, 0.7) if oncoming else (0.4, 0.02, 0.02)
    if glowing:
        lamp = (2.5, 2.3, 1.8) if oncoming else (1.6, 0.1, 0.06)
    trim = rng.color(0.03, 0.6) if kind in ("bus", "tram") else rng.gray(0.1, 0.4)
    return palette([body, glass, (0.025, 0.025, 0.027), lamp, trim, body if rng.chance(0.9) else (0.03, 0.03, 0.03)])

"""Street furniture as sprites: trees, bushes, lamps, signs, traffic lights, bins and bollards."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streetlab.synthetic.raster import Sketch, Sprite, palette, ring
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.texture import noise

POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, IGNORE = 5, 6, 7, 8, 255
SIGN_SHAPES = ("disc", "triangle", "square", "octagon", "diamond", "board")
VARIANTS = 10


@lru_cache(maxsize=32)
def tree_sprite(variant: int) -> Sprite:
    """A street tree of 6 m: part 1 wood, part 2 leaves; the crown's edge is ragged and sky shows through."""
    rng = Rng(41, variant)
    tall = variant % 3 == 2
    sketch = Sketch(-2.4, 0.0, 4.8, 6.4, rows=144)
    lean = rng.between(-0.3, 0.3)
    sketch.polygon([(-0.2, 0), (0.2, 0), (0.12 + lean, 3.2), (-0.12 + lean, 3.2)], 1, 1.0, 0.7)
    for _ in range(3):
        sketch.line((lean * 0.8, 2.2), (rng.between(-1.6, 1.6), rng.between(3.2, 4.8)), 0.12, 1, 0.8)
    blobs = 16 if not tall else 12
    for k in range(blobs):
        x = rng.between(-1.5, 1.5) * (0.4 if tall else 1) + lean
        y = rng.between(2.2, 5.4) if not tall else 1.2 + 4.4 * k / blobs
        r = rng.between(0.55, 1.0) * (1.25 - abs(x) / 3) * ((1.35 - 0.9 * k / blobs) if tall else 1)
        sketch.ellipse(x, y, r, r * 0.85, 2, rng.between(0.7, 1.15), 0.35)
    tiled = np.tile(noise(8, 1), (1, 1))
    rows, columns = sketch.parts.shape
    holes = np.roll(tiled, variant * 37, axis=1)[:rows, :columns]
    # erode where leaves end, more at the edge than inside
    solid = (sketch.parts == 2).astype(np.int32)
    inner = sum(np.roll(np.roll(solid, dy, 0), dx, 1) for dy in (-5, 0, 5) for dx in (-5, 0, 5))
    ragged = (sketch.parts == 2) & (holes > (inner - 4.2) * np.float32(0.16))
    sketch.parts[ragged & (inner < 9)] = 0
    sketch.speckle(np.roll(noise(4, 1), variant * 29, axis=0), 0.55, part=2)
    return sketch.sprite([VEGETATION, VEGETATION])


@lru_cache(maxsize=16)
def bush_sprite(variant: int) -> Sprite:
    """A bush or flower bed of 1 m: part 1 leaves, part 2 flowers."""
    rng = Rng(43, variant)
    sketch = Sketch(-0.9, 0.0, 1.8, 1.1, rows=64)
    for _ in range(10):
        x = rng.between(-0.55, 0.55)
        r = rng.between(0.2, 0.36)
        sketch.ellipse(x, rng.between(0.2, 0.8 - abs(x) * 0.6), r, r, 1, rng.between(0.7, 1.1), 0.3)
    sketch.speckle(np.roll(noise(4, 1), variant * 31, axis=1), 0.5)
    if variant % 2:
        flowers = np.roll(noise(2, 1), variant * 17, axis=1)[: sketch.parts.shape[0], : sketch.parts.shape[1]] > 0.95
        sketch.parts[flowers & (sketch.parts == 1)] = 2
    return sketch.sprite([VEGETATION, VEGETATION])


@lru_cache(maxsize=16)
def lamp_sprite(variant: int) -> Sprite:
    """A street lamp of 5-7 m: part 1 pole, part 2 lamp head (both class pole, as in Cityscapes)."""
    rng = Rng(47, variant)
    height = rng.between(4.5, 7.0)
    arm = rng.pick((0.0, 1.2, 1.8))
    sketch = Sketch(-0.4, 0.0, 2.6, height + 0.4, rows=160)
    sketch.line((0, 0), (0, height), 0.13, 1)
    sketch.box(-0.14, 0, 0.14, 0.8, 1, 0.8)
    if arm:
        sketch.line((0, height), (arm, height + 0.2), 0.1, 1)
        sketch.polygon(
            [
                (arm - 0.2, height + 0.22),
                (arm + 0.35, height + 0.26),
                (arm + 0.3, height + 0.08),
                (arm - 0.2, height + 0.08),
            ],
            2,
        )
    else:
        sketch.polygon([(-0.25, height), (0.25, height), (0.14, height - 0.45), (-0.14, height - 0.45)], 2)
        sketch.box(-0.28, height - 0.02, 0.28, height + 0.1, 1)
    return sketch.sprite([POLE, POLE])


@lru_cache(maxsize=32)
def sign_sprite(shape: str, variant: int) -> Sprite:
    """A traffic sign on its post of 2.6 m: parts post, border, face, symbol."""
    rng = Rng(53, variant)
    sketch = Sketch(-0.7, 0.0, 1.4, 3.1, rows=120)
    sketch.line((0, 0), (0, 2.4), 0.075, 1)
    y, r = 2.55, 0.42
    if shape == "disc":
        sketch.ellipse(0, y, r, r, 2)
        sketch.ellipse(0, y, r * 0.76, r * 0.76, 3)
    elif shape == "triangle":
        sketch.polygon([(-0.5, y - 0.36), (0.5, y - 0.36), (0, y + 0.5)], 2)
        sketch.polygon([(-0.34, y - 0.27), (0.34, y - 0.27), (0, y + 0.31)], 3)
    elif shape == "octagon":
        sketch.polygon(ring(0, y, r, r, 8), 3)
    elif shape == "diamond":
        sketch.polygon(ring(0, y, 0.5, 0.5, 4), 3)
        sketch.polygon(ring(0, y, 0.36, 0.36, 4), 2)
    elif shape == "board":
        sketch.box(-0.68, y - 0.2, 0.68, y + 0.35, 2)
        sketch.box(-0.64, y - 0.16, 0.64, y + 0.31, 3)
    else:
        sketch.box(-0.4, y - 0.4, 0.4, y + 0.4, 2)
        sketch.box(-0.36, y - 0.36, 0.36, y + 0.36, 3)
    symbol = rng.integer(4)
    if symbol == 0:
        sketch.box(-0.24, y - 0.06, 0.24, y + 0.06, 4)
    elif symbol == 1:
        sketch.box(-0.05, y - 0.2, 0.05, y + 0.16, 4)
    elif symbol == 2:
        sketch.line((-0.15, y - 0.18), (0.15, y + 0.18), 0.09, 4)
    else:
        sketch.polygon([(-0.15, y - 0.15), (0.15, y - 0.15), (0, y + 0.18)], 4)
    return sketch.sprite([POLE, TRAFFIC_SIGN, TRAFFIC_SIGN, TRAFFIC_SIGN])


@lru_cache(maxsize=8)
def traffic_light_sprite(lit: int, arm: bool) -> Sprite:
    """A traffic light on a post or an arm: parts post, box, dark lamp, and the lit lamp."""
    height = 5.2 if arm else 3.3
    x = 2.2 if arm else 0.0
    sketch = Sketch(-0.4, 0.0, 3.0 if arm else 0.8, height + 0.4, rows=160 if arm else 120)
    sketch.line((0, 0), (0, height), 0.13, 1)
    if arm:
        sketch.line((0, height - 0.1), (x, height), 0.1, 1)
    for at, top in ((x, height + 0.3), (0.0, 3.2)) if arm else ((x, height),):
        sketch.box(at - 0.21, top - 1.0, at + 0.21, top, 2)
        for k in range(3):
            sketch.ellipse(at, top - 0.19 - 0.31 * k, 0.12, 0.12, 4 if k == lit else 3)
    return sketch.sprite([POLE, TRAFFIC_LIGHT, TRAFFIC_LIGHT, TRAFFIC_LIGHT])


@lru_cache(maxsize=8)
def bin_sprite(variant: int) -> Sprite:
    """A litter bin, wheelie bin, bollard or cabinet; but for bollards (poles) no class fits: ignored."""
    sketch = Sketch(-0.5, 0.0, 1.0, 1.35, rows=72)
    kind = variant % 4
    if kind == 0:
        sketch.polygon([(-0.26, 0), (0.26, 0), (0.32, 0.95), (-0.32, 0.95)], 1, 1.0, 0.7)
        sketch.ellipse(0, 0.97, 0.33, 0.1, 2, 0.9)
        sketch.ellipse(0, 0.95, 0.22, 0.05, 2, 0.2)
    elif kind == 1:
        sketch.polygon([(-0.3, 0.06), (0.28, 0.06), (0.34, 1.0), (-0.34, 1.0)], 1, 1.0, 0.75)
        sketch.polygon([(-0.38, 0.98), (0.38, 0.98), (0.32, 1.12), (-0.32, 1.12)], 2)
        sketch.ellipse(-0.2, 0.09, 0.09, 0.09, 2, 0.2)
    elif kind == 2:
        sketch.box(-0.07, 0, 0.07, 0.95, 1)
        sketch.box(-0.07, 0.75, 0.07, 0.88, 2, 1.6)
        return sketch.sprite([POLE, POLE])
    else:
        sketch.box(-0.45, 0, 0.45, 1.25, 1, 1.0)
        sketch.box(-0.47, 1.2, 0.47, 1.3, 2)
        sketch.box(-0.01, 0.05, 0.01, 1.2, 2, 0.5)
    return sketch.sprite([IGNORE, IGNORE])


def sign_palette(rng: Rng, shape: str) -> np.ndarray:
    """Post, border, face, symbol."""
    white, red, blue = (0.7, 0.7, 0.7), (0.55, 0.03, 0.04), (0.02, 0.1, 0.45)
    green, yellow, black = (0.02, 0.22, 0.1), (0.7, 0.5, 0.03), (0.03, 0.03, 0.03)
    post = rng.gray(0.08, 0.4)
    options: dict[str, tuple[tuple[Rgb, Rgb, Rgb], ...]] = {
        "disc": ((red, white, black), (white, blue, white), (red, red, white)),
        "triangle": ((red, white, black), (red, yellow, black)),
        "square": ((white, blue, white), (black, yellow, black), (blue, white, blue)),
        "octagon": ((white, red, white),),
        "diamond": ((yellow, white, yellow),),
        "board": ((white, blue, white), (white, green, white), (black, white, black), (black, yellow, black)),
    }
    border, face, symbol = rng.pick(options[shape])
    return palette([post, rng.near(border, 0.2), rng.near(face, 0.2), symbol])


def traffic_light_palette(rng: Rng, lit: int) -> np.ndarray:
    """Post, box, dark lamp, lit lamp."""
    glow: Rgb = ((1.6, 0.12, 0.08), (1.5, 0.8, 0.05), (0.1, 1.3, 0.45))[lit]
    return palette([rng.gray(0.05, 0.35), rng.gray(0.015, 0.05), (0.06, 0.05, 0.05), glow])

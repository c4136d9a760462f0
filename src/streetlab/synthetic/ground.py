"""The ground: road, pavements, verges, kerbs, lane marks, paving, a crossing street."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streetlab.synthetic.camera import Camera
from streetlab.synthetic.light import Light
from streetlab.synthetic.raster import Canvas
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.texture import noise, sample

ROAD, SIDEWALK, TERRAIN = 0, 1, 9


@dataclass(frozen=True)
class Strip:
    """A band of ground along the street, from the last one's edge to `right` (metres)."""

    right: float
    label: int
    color: Rgb
    texture: str


@dataclass(frozen=True)
class Ground:
    """Plan of the street.

    Args:
        strips: from left to right; the last reaches to infinity.
        road: left and right kerb in metres.
        walk: outer edges of the pavements.
        crossing: depths between which another street crosses, or None.
        zebra: depths between which a crosswalk lies, or None.
    """

    strips: tuple[Strip, ...]
    road: tuple[float, float]
    walk: tuple[float, float]
    crossing: tuple[float, float] | None
    zebra: tuple[float, float] | None
    paint: Rgb
    lanes: int
    tram_rails: float | None


def plan_ground(rng: Rng, camera: Camera) -> Ground:
    """Plan the ground: half of the photos are taken from the roadway, the others from a pavement."""
    lanes = rng.pick((1, 2, 2, 2, 3))
    wide = lanes * rng.between(2.9, 3.5) + rng.pick((0.0, 2.0, 4.0))
    if rng.chance(0.5):
        left = -wide * rng.between(0.3, 0.7)
    else:
        left = rng.pick((-wide - rng.between(0.6, 1.6), rng.between(0.6, 1.6)))
    right = left + wide
    asphalt = rng.gray(0.05, 0.24, 0.1)
    paving = rng.near(rng.pick((asphalt, (0.3, 0.29, 0.27), (0.36, 0.25, 0.2), (0.22, 0.22, 0.22),
                                    (0.42, 0.38, 0.3), (0.16, 0.15, 0.15))), 0.35)  # fmt: skip
    soil = rng.near(rng.pick(((0.10, 0.19, 0.05), (0.16, 0.2, 0.06), (0.25, 0.2, 0.12), (0.3, 0.26, 0.16),
                                  (0.07, 0.14, 0.04))), 0.3)  # fmt: skip
    road_texture = "cobble" if rng.chance(0.15) else "asphalt"
    walk_texture = rng.pick(("slabs", "slabs", "bricks", "cobble", "asphalt"))

    def side(outwards: float, kerb: float) -> tuple[float, list[Strip]]:
        """The pavement's outer edge, and strips from the kerb outwards that end at their outer edges."""
        edge = kerb
        strips: list[Strip] = []
        if rng.chance(0.35):
            edge += outwards * rng.between(0.8, 2.2)
            strips.append(Strip(edge, TERRAIN, soil, "grass"))
        edge += outwards * rng.between(1.8, 4.2)
        strips.append(Strip(edge, SIDEWALK, paving, walk_texture))
        strips.append(Strip(outwards * 1e6, TERRAIN, soil, "grass"))
        return edge, strips

    walk_left, leftwards = side(-1.0, left)
    walk_right, rightwards = side(1.0, right)
    # a strip left of the road ends, on its right, where the next one inwards begins
    inner = [left, *[strip.right for strip in leftwards[:-1]]]
    strips = [replace(strip, right=edge) for edge, strip in zip(inner, leftwards, strict=True)][::-1]
    strips += [Strip(right, ROAD, asphalt, road_texture), *rightwards]
    start = camera.nearest + rng.between(6, 30)
    crossing = (start, start + rng.between(5, 9)) if rng.chance(0.4) else None
    zebra = None
    if rng.chance(0.45):
        near = crossing[0] - 3.4 if crossing else camera.nearest + rng.between(0.5, 14)
        zebra = (near, near + rng.between(2.2, 3.2))
    return Ground(
        strips=tuple(strips),
        road=(left, right),
        walk=(walk_left, walk_right),
        crossing=crossing,
        zebra=zebra,
        paint=rng.near((0.62, 0.62, 0.58), 0.2) if rng.chance(0.85) else (0.6, 0.45, 0.1),
        lanes=lanes,
        tram_rails=rng.between(left + 1.5, right - 1.5) if rng.chance(0.18) else None,
    )


def draw_ground(canvas: Canvas, camera: Camera, ground: Ground, light: Light, rng: Rng) -> None:
    """Paint what lies on the ground plane below the horizon."""
    rows = camera.ground_rows()
    first = int(rows[0])
    z = (np.float32(camera.above * camera.focal) / (rows + (0.5 - camera.horizon)).astype(np.float32)).clip(0, 300)
    across = np.arange(canvas.width, dtype=np.float32) + np.float32(0.5 - camera.center)
    x = across * (z / np.float32(camera.focal))[:, None]
    zone = np.zeros(x.shape, np.uint8)
    for strip in ground.strips[:-1]:
        zone += x > np.float32(strip.right)
    labels = np.array([strip.label for strip in ground.strips], np.uint8)
    road_zone = int(np.flatnonzero(labels == ROAD)[0])
    if ground.crossing is not None:
        zone[(z > ground.crossing[0]) & (z < ground.crossing[1])] = road_zone
    colors = np.array([strip.color for strip in ground.strips], np.float32).T
    color = colors.take(zone, axis=1)
    # the eye resolves less of a texture the farther it lies
    sharp = np.minimum(np.float32(1), np.float32(9) / z)[:, None]
    shift = rng.between(0, 200)
    scale = np.float32(rng.between(14, 26))
    z_texels = (z * scale + np.float32(shift))[:, None]
    x_texels = x.clip(-400, 400) * scale + np.float32(30000)
    fine = sample(noise(4, 1), z_texels, x_texels)
    coarse = sample(noise(64, 8), z_texels * np.float32(0.25), x_texels * np.float32(0.25))
    rough = np.array([0.38 if strip.texture == "grass" else 0.13 for strip in ground.strips], np.float32)
    stain = np.float32(rng.between(0.05, 0.28))
    shade = 1 + fine * sharp * rough.take(zone) + coarse * stain
    for index, strip in enumerate(ground.strips):
        if strip.texture in ("slabs", "bricks", "cobble"):
            _lay_stones(shade, zone == index, x, z, sharp, strip.texture, rng)
    color *= shade
    _paint_marks(color, ground, x, z, fine, rng)
    canvas.mask[first:] = labels.take(zone)
    share = z / (z + np.float32(light.fog))
    color *= (light.on(0.75)[:, None] * (1 - share))[:, :, None]
    color += (light.air[:, None] * share)[:, :, None]
    canvas.color[:, first:] = color


def _lay_stones(
    shade: np.ndarray,
    where: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    sharp: np.ndarray,
    kind: str,
    rng: Rng,
) -> None:
    """Joints between stones, and stones that differ from each other."""
    low, high = {"slabs": (0.5, 1.1), "bricks": (0.22, 0.34), "cobble": (0.14, 0.22)}[kind]
    wide = rng.between(low, high)
    long = wide * (rng.between(0.8, 1.2) if kind != "bricks" else 0.5)
    rows = np.flatnonzero(where.any(axis=1))
    if len(rows) == 0:
        return
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    along = z[part] * np.float32(1 / long)
    row = np.floor(along)
    across = x[part].clip(-60, 60) * np.float32(1 / wide) + (row * np.float32(0.5) % 1)[:, None]
    column = np.floor(across)
    own = sample(noise(1, 1), row[:, None] * np.float32(7) + np.float32(16384), column + np.float32(4096))
    joint = ((across - column) < np.float32(0.09)) | ((along - row) < np.float32(0.12))[:, None]
    blend = np.minimum(sharp[part] * np.float32(1 if kind == "slabs" else 0.7), 1)
    factor = 1 + (own * np.float32(0.16) - joint * np.float32(0.38)) * blend
    np.multiply(shade[part], factor, out=shade[part], where=where[part])


def _paint_marks(color: np.ndarray, ground: Ground, x: np.ndarray, z: np.ndarray, wear: np.ndarray, rng: Rng) -> None:
    """Lines, crosswalk stripes, kerbs and rails; worn paint lets the ground through."""
    left, right = ground.road
    outside = np.ones(len(z), bool)
    if ground.crossing is not None:
        outside = (z < ground.crossing[0]) | (z > ground.crossing[1])
    if rng.chance(0.8):
        kerb = np.float32(0.16)
        edge = ((x > left - kerb) & (x < left)) | ((x > right) & (x < right + kerb))
        edge &= outside[:, None]
        color[:, edge] = color[:, edge] * np.float32(0.3) + np.float32(rng.between(0.14, 0.3))
    paint = np.zeros(x.shape, bool)
    solid = np.ones(len(z), bool)
    clear = outside.copy()
    if ground.zebra is not None:
        clear &= (z < ground.zebra[0] - 0.8) | (z > ground.zebra[1] + 0.8)
        stripe = rng.between(0.45, 0.6)
        period = np.float32(stripe * 2)
        bars = ((x - np.float32(left)) % period < stripe) & (x > left) & (x < right)
        paint |= bars & ((z > ground.zebra[0]) & (z < ground.zebra[1]))[:, None]
    dash, gap = rng.between(1.5, 3), rng.between(2, 5)
    dashes = (z + np.float32(rng.between(0, 5))) % np.float32(dash + gap) < dash
    half = rng.between(0.06, 0.1)
    lines = [(left + (right - left) * k / ground.lanes, dashes) for k in range(1, ground.lanes)]
    if rng.chance(0.5):
        lines += [(left + 0.35, solid), (right - 0.35, solid)]
    for at, pattern in lines:
        paint |= (np.abs(x - np.float32(at)) < half) & (pattern & clear)[:, None]
    keep = (paint * (wear * np.float32(0.8) + np.float32(rng.between(0.55, 1.1)))).clip(0, 1)
    marked = paint.any(axis=1)
    if marked.any():
        rows = np.flatnonzero(marked)
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        paint_color = np.array(ground.paint, np.float32)[:, None, None]
        color[:, part] += (paint_color - color[:, part]) * keep[part]
    if ground.tram_rails is not None:
        rail = np.abs(np.abs(x - np.float32(ground.tram_rails)) - np.float32(0.72)) < 0.06
        color[:, rail] = color[:, rail] * np.float32(0.4) + np.float32(0.06)

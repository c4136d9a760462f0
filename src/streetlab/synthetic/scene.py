"""Draw one street scene from one seed: picture, true classes, true litter and the resulting cleanliness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetlab.synthetic.camera import Camera, place_camera
from streetlab.synthetic.facades import (
    BUILDING,
    FENCE,
    VEGETATION,
    WALL,
    Segment,
    draw_plane,
    front_plane,
    sample_segment,
    side_plane,
)
from streetlab.synthetic.ground import Ground, draw_ground, plan_ground
from streetlab.synthetic.light import Light, draw_sky, sample_light
from streetlab.synthetic.raster import Canvas, patch
from streetlab.synthetic.rng import Rng
from streetlab.synthetic.scatter import is_ground, scatter_harmless, scatter_litter
from streetlab.synthetic.sensor import expose
from streetlab.synthetic.street import draw_objects, draw_shadows, plan_objects

SCENE_STREAM = 1
CLEAN_BELOW = 0.008
"""A scene is Clean while litter covers less than this share of the visible ground."""
LITTER_FROM = 0.06
"""... and Litter from this share on; Medium lies between."""
BANDS = ((0.0, 0.002), (0.018, 0.038), (0.095, 0.170))
"""Shares that scenes of each label aim for; the gaps keep labels unambiguous."""
CLUTTER = (0.04, 0.13)
"""Share of the ground under litter and harmless things together, whatever the label: tidy streets have more
leaves, puddles and patches, so that how busy the ground looks tells nothing."""


@dataclass(frozen=True)
class Scene:
    """A picture and its true labels.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8 Cityscapes train ids, 255 = ignore; under litter the ground's class.
        litter: (H, W) bool.
    """

    image: np.ndarray
    mask: np.ndarray
    litter: np.ndarray

    @property
    def litter_share(self) -> float:
        """Litter's share of the visible road, sidewalk and terrain (0 - 1)."""
        return int(np.count_nonzero(self.litter)) / max(1, int(np.count_nonzero(is_ground(self.mask))))

    @property
    def label(self) -> int:
        """0 Clean, 1 Medium, 2 Litter."""
        return cleanliness(self.litter_share)


def cleanliness(litter_share: float) -> int:
    """Class of a scene (0 Clean, 1 Medium, 2 Litter) with this share of litter on its ground."""
    return int(litter_share >= CLEAN_BELOW) + int(litter_share >= LITTER_FROM)


def draw_scene(seed: int, height: int = 128, width: int = 256) -> Scene:
    """The scene of a seed (>= 0), the same on every machine; sizes from 32 px up."""
    if height < 32 or width < 32:
        raise ValueError(f"a scene of {height}x{width} px is too small to draw; at least 32x32")
    rng = Rng(SCENE_STREAM, seed)
    goal = rng.integer(3)
    camera = place_camera(rng, height, width)
    light = sample_light(rng)
    ground = plan_ground(rng, camera)
    canvas = Canvas(np.zeros((3, height, width), np.float32), np.full((height, width), 255, np.uint8))
    draw_sky(canvas, camera, light, rng)
    draw_ground(canvas, camera, ground, light, rng)
    _draw_surroundings(canvas, camera, ground, light, rng)
    if light.wet > 0:
        _mirror(canvas, camera, light)
    objects = plan_objects(rng, camera, ground, light)
    draw_shadows(canvas, camera, light, objects)
    share = rng.between(*BANDS[goal])
    spare = max(rng.between(*CLUTTER) - (share if goal else 0.0), 0.015)
    scatter_harmless(canvas, camera, light, rng, spare)
    draw_objects(canvas, camera, light, objects)
    if rng.chance(0.18):
        _draw_hood(canvas, rng)
    if goal or rng.chance(0.3):
        litter = scatter_litter(canvas, camera, light, rng, BANDS[goal])
    else:
        litter = np.zeros((height, width), bool)
    return Scene(expose(canvas.color, rng), canvas.mask, litter)


def _draw_surroundings(canvas: Canvas, camera: Camera, ground: Ground, light: Light, rng: Rng) -> None:
    """Draw the end of the street, then both sides: houses or trees, walls, fences, hedges."""
    facing = 0.7 if light.shadow[1] > 0 else 0.05
    end = rng.between(55, 130)
    skyline, x = [], -end
    while x < end:
        label = rng.pick((BUILDING, BUILDING, VEGETATION))
        tall = rng.between(7, 20) if label == BUILDING else rng.between(4, 11)
        skyline.append(sample_segment(rng, x, label, tall, gabled=True))
        x += rng.between(8, 24)
    draw_plane(canvas, camera, front_plane(camera, tuple(skyline), end, facing), light, rng)
    town = rng.between(0.25, 1.0)
    for side, walk in ((-1.0, ground.walk[0]), (1.0, ground.walk[1])):
        setback = rng.pick((0.0, 0.0, rng.between(1.5, 6.0)))
        houses = _row(rng, end, town, rng.between(5, 12), rng.between(10, 22))
        sun = (max(0.0, -side * light.sun_x), facing)
        line = walk + side * (setback + 0.05)
        plane = side_plane(camera, houses, line, ground.crossing, sun)
        if plane is not None:
            if light.kind == "sun" and light.shadow[0] * side < 0:
                _cast_row_shadow(canvas, camera, light, houses, line, ground)
            draw_plane(canvas, camera, plane, light, rng)
        if setback or town < 0.5:
            barriers = _barriers(rng, end)
            plane = side_plane(camera, barriers, walk + side * 0.04, ground.crossing, sun)
            if plane is not None and ground.crossing is not None:
                # no barrier runs along the other street's far side
                plane = side_plane(camera, _cut(barriers, ground.crossing), walk + side * 0.04, None, sun)
            if plane is not None:
                draw_plane(canvas, camera, plane, light, rng)


def _row(rng: Rng, end: float, town: float, low: float, high: float) -> tuple[Segment, ...]:
    """Houses, tree lines and gaps along one side, from the camera to the street's end."""
    segments, z = [], 0.0
    while z < end:
        if rng.chance(town):
            segments.append(sample_segment(rng, z, BUILDING, rng.between(low, high)))
        elif rng.chance(0.5):
            segments.append(sample_segment(rng, z, VEGETATION, rng.between(2.5, 8)))
        else:
            segments.append(sample_segment(rng, z, 255, 0.0))
        z += rng.between(5, 16)
    segments.append(sample_segment(rng, end, 255, 0.0))
    return tuple(segments)


def _barriers(rng: Rng, end: float) -> tuple[Segment, ...]:
    segments, z = [], 0.0
    heights = {WALL: (0.8, 2.4), FENCE: (0.9, 1.8), VEGETATION: (0.6, 1.9), 255: (0.0, 0.1)}
    while z < end:
        label = rng.pick((WALL, WALL, FENCE, FENCE, FENCE, VEGETATION, 255, 255))
        segments.append(sample_segment(rng, z, label, rng.between(*heights[label])))
        z += rng.between(3, 14)
    segments.append(sample_segment(rng, end, 255, 0.0))
    return tuple(segments)


def _cut(segments: tuple[Segment, ...], gap: tuple[float, float]) -> tuple[Segment, ...]:
    """Remove the segments in the gap from the row."""
    before = [s for s in segments if s.start < gap[0]]
    after = [s for s in segments if s.start > gap[1]]
    hole = segments[-1]
    start = Segment(**{**hole.__dict__, "start": gap[0]})
    return (*before, start, *after)


def _cast_row_shadow(
    canvas: Canvas, camera: Camera, light: Light, houses: tuple[Segment, ...], line: float, ground: Ground
) -> None:
    """The shadow that a row of houses throws across the street, seen row by row of the picture."""
    rows = camera.ground_rows()
    z = np.float32(camera.above * camera.focal) / (rows + (0.5 - camera.horizon)).astype(np.float32)
    starts = np.array([house.start for house in houses], np.float32)
    height = np.array([house.height if house.label != 255 else 0.0 for house in houses], np.float32)
    reach = height[(np.searchsorted(starts, z, side="right") - 1).clip(0)]
    if ground.crossing is not None:
        reach[(z > ground.crossing[0]) & (z < ground.crossing[1])] = 0
    edge = (
        np.float32(camera.center)
        + (np.float32(line) + reach * np.float32(light.shadow[0] * 0.6)) * np.float32(camera.focal) / z
    )
    columns = np.arange(canvas.width, dtype=np.float32)
    shaded = columns < edge[:, None] if light.shadow[0] > 0 else columns > edge[:, None]
    factor = light.on(0.08) / light.on(0.75)
    part = canvas.color[:, int(rows[0]) :]
    np.multiply(part, factor[:, None, None], out=part, where=shaded & is_ground(canvas.mask[int(rows[0]) :]))


def _mirror(canvas: Canvas, camera: Camera, light: Light) -> None:
    """Draw wet ground: darker, and with the mirror image of everything above the horizon."""
    rows = camera.ground_rows()
    image = np.clip((2 * camera.horizon - rows).astype(np.int32), 0, canvas.height - 1)
    mirrored = canvas.color[:, image]
    part = canvas.color[:, int(rows[0]) :]
    # flatter looks mirror more
    share = np.float32(light.wet) * (
        np.float32(0.75) - np.float32(0.5) * (rows - rows[0]).astype(np.float32) / len(rows)
    )
    wet = part * np.float32(1 - 0.45 * light.wet)
    wet += (mirrored - wet) * (share * np.float32(0.6))[:, None]
    smooth = np.float32(light.wet) > np.float32(0.2)
    np.copyto(part, wet, where=is_ground(canvas.mask[int(rows[0]) :]) & (canvas.mask[int(rows[0]) :] != 9) & smooth)


def _draw_hood(canvas: Canvas, rng: Rng) -> None:
    """The bonnet of the car that carries the camera; ignored, as in Cityscapes."""
    height, width = canvas.mask.shape
    rise = rng.between(0.05, 0.12) * height
    box = patch((height, width), (width * rng.between(0.45, 0.55), float(height)), (width * 0.62, rise))
    if box is None:
        return
    inside = box.u * box.u + box.v * box.v < 1
    color = np.array(rng.pick((rng.gray(0.02, 0.08), rng.gray(0.2, 0.5), rng.color(0.02, 0.4))), np.float32)
    shine = np.float32(0.55) - np.float32(0.45) * box.v + np.float32(0.1) * box.u
    np.copyto(canvas.color[:, box.rows, box.columns], color[:, None, None] * shine, where=inside)
    np.copyto(canvas.mask[box.rows, box.columns], np.uint8(255), where=inside)

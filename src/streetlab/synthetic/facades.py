"""Vertical planes along and across the street: buildings, tree lines, walls, fences and hedges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetlab.synthetic.camera import FARTHEST, Camera
from streetlab.synthetic.light import Light
from streetlab.synthetic.raster import Canvas
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.texture import noise, sample

BUILDING, WALL, FENCE, VEGETATION = 2, 3, 4, 8

WALLS: tuple[Rgb, ...] = (
    (0.42, 0.36, 0.27), (0.30, 0.13, 0.09), (0.5, 0.46, 0.4), (0.24, 0.22, 0.2), (0.55, 0.42, 0.22),
    (0.2, 0.25, 0.3), (0.45, 0.28, 0.22), (0.6, 0.58, 0.55), (0.16, 0.12, 0.1), (0.3, 0.34, 0.26),
)  # fmt: skip
LEAVES: tuple[Rgb, ...] = ((0.05, 0.12, 0.03), (0.08, 0.14, 0.03), (0.03, 0.08, 0.03), (0.2, 0.12, 0.03))


@dataclass(frozen=True)
class Segment:
    """One building, barrier or tree line; `label` 255 stands for a gap."""

    start: float
    label: int
    height: float
    color: Rgb
    bay: float
    story: float
    pane: tuple[float, float]
    base: float
    base_color: Rgb
    gable: float
    roof: float
    roof_color: Rgb


def sample_segment(rng: Rng, start: float, label: int, height: float, gabled: bool = False) -> Segment:
    """Draw the looks of one building, wall, fence or hedge that begins at `start`; both lengths in metres."""
    if label == VEGETATION:
        color = rng.near(rng.pick(LEAVES), 0.35)
    elif label == FENCE:
        color = rng.near(rng.pick(((0.06, 0.06, 0.06), (0.35, 0.35, 0.36), (0.2, 0.12, 0.06), (0.06, 0.14, 0.09))), 0.3)
    else:
        color = rng.near(rng.pick(WALLS), 0.3)
    pitched = rng.chance(0.45)
    return Segment(
        start=start,
        label=label,
        height=height,
        color=color,
        bay=rng.between(1.3, 3.2) if label == BUILDING else rng.between(1.4, 2.6),
        story=rng.between(2.7, 3.6),
        pane=(rng.between(0.3, 0.72), rng.between(0.4, 0.66)),
        base=rng.pick((0.0, 0.5, 3.2, 3.6)),
        base_color=rng.near(rng.pick(WALLS), 0.4),
        gable=rng.between(1.0, 3.0) if gabled and pitched else 0.0,
        roof=rng.between(1.0, 2.8) if pitched else rng.between(0.1, 0.5),
        roof_color=rng.near(rng.pick(((0.28, 0.1, 0.06), (0.1, 0.1, 0.11), (0.16, 0.12, 0.1))), 0.3),
    )


@dataclass(frozen=True)
class Plane:
    """A row of segments as the columns `first` .. `first + n - 1` of the picture see it.

    Args:
        depth: (n,) depth of the plane in each column.
        along: (n,) metres along the plane.
        segment: (n,) index into `segments`.
        sun: (n,) how much of the sun falls on it.
    """

    first: int
    depth: np.ndarray
    along: np.ndarray
    segment: np.ndarray
    segments: tuple[Segment, ...]
    sun: np.ndarray


def side_plane(
    camera: Camera,
    segments: tuple[Segment, ...],
    x: float,
    gaps: tuple[float, float] | None,
    sun: tuple[float, float],
) -> Plane | None:
    """A plane along the street at `x`; in the gap of a crossing street the next house shows its front.

    Args:
        sun: part of the sun on the plane's side and on its front.
    """
    columns = np.arange(camera.width, dtype=np.float32) + np.float32(0.5 - camera.center)
    offset = columns if x > 0 else -columns
    seen = np.flatnonzero(offset > 0.25)
    if len(seen) == 0:
        return None
    offset = offset[seen]
    depth = (np.float32(camera.focal * abs(x)) / offset).clip(0.3, FARTHEST)
    along = depth.copy()
    lit = np.full(len(seen), sun[0], np.float32)
    if gaps is not None:
        hole = (depth > gaps[0]) & (depth < gaps[1])
        depth[hole] = gaps[1]
        along[hole] = offset[hole] * np.float32(gaps[1] / camera.focal) + np.float32(gaps[1] + 0.1)
        lit[hole] = sun[1]
    starts = np.array([segment.start for segment in segments], np.float32)
    probe = np.where(depth == np.float32(gaps[1]), np.float32(gaps[1] + 0.05), depth) if gaps else depth
    index = (np.searchsorted(starts, probe, side="right") - 1).clip(0)
    return Plane(int(seen[0]), depth, along, index, segments, lit)


def front_plane(camera: Camera, segments: tuple[Segment, ...], z: float, sun: float) -> Plane:
    """A plane across the street at depth z, over all columns; segment starts are in x."""
    columns = np.arange(camera.width, dtype=np.float32) + np.float32(0.5 - camera.center)
    along = columns * np.float32(z / camera.focal)
    starts = np.array([segment.start for segment in segments], np.float32)
    index = (np.searchsorted(starts, along, side="right") - 1).clip(0)
    flat = np.full(camera.width, z, np.float32)
    return Plane(0, flat, along + np.float32(1000), index, segments, np.full(camera.width, sun, np.float32))


def draw_plane(canvas: Canvas, camera: Camera, plane: Plane, light: Light, rng: Rng) -> None:
    """Paint a row of façades onto the canvas."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(segment, name) for segment in plane.segments], np.float32)[plane.segment]

    labels = np.array([segment.label for segment in plane.segments], np.uint8)[plane.segment]
    height, depth, along = column("height"), plane.depth, plane.along
    if not (labels != 255).any():
        return
    per_row = depth / np.float32(camera.focal)
    swing = np.abs(along * np.float32(0.22) % 2 - 1)
    height = np.where(labels == 255, -1, height + column("gable") * swing)
    leafy = labels == VEGETATION
    texels = along * np.float32(9)
    if leafy.any():
        ragged = sample(noise(16, 1), texels * np.float32(0.7), texels * 0 + np.float32(rng.integer(200)))
        height = np.where(leafy, height * (1 + ragged * np.float32(0.16)), height)
    # rows that the plane can reach
    top = float((camera.horizon - (height - camera.above) / per_row).min())
    bottom = float((camera.horizon + camera.above / per_row)[labels != 255].max())
    y0, y1 = max(0, int(top)), min(canvas.height, int(bottom) + 1)
    if y1 <= y0:
        return
    rows = (np.arange(y0, y1) + (0.5 - camera.horizon)).astype(np.float32)[:, None]
    v = np.float32(camera.above) - rows * per_row
    inside = (v >= 0) & (v < height)
    base_noise = sample(noise(32, 1), v * np.float32(9) + np.float32(4096), texels)
    shade = 1 + base_noise * np.where(leafy, np.float32(0.55), np.float32(0.09))
    color = np.array([segment.color for segment in plane.segments], np.float32).T[:, plane.segment]
    painted = color[:, None, :] * shade
    glow = None
    if (labels == BUILDING).any():
        glow = _windows(painted, plane, v, height, labels == BUILDING, light, rng)
    if (labels == FENCE).any():
        _bars(
            painted,
            canvas.color[:, y0:y1, plane.first : plane.first + len(depth)],
            along,
            v,
            height,
            labels == FENCE,
        )
    if (labels == WALL).any():
        course = (v * np.float32(4) % 1 < 0.12) | (v > height - np.float32(0.12))
        painted *= 1 - np.float32(0.3) * (course & (labels == WALL))
    painted *= (light.ambient[:, None] + light.sun[:, None] * plane.sun)[:, None, :]
    if glow is not None:
        painted[0] += glow
        painted[1] += glow * np.float32(0.75)
        painted[2] += glow * np.float32(0.4)
    share = depth / (depth + np.float32(light.fog))
    painted *= 1 - share
    painted += (light.air[:, None] * share)[:, None, :]
    box = (slice(y0, y1), slice(plane.first, plane.first + len(depth)))
    np.copyto(canvas.color[:, box[0], box[1]], painted, where=inside)
    np.copyto(canvas.mask[box], np.broadcast_to(labels, inside.shape), where=inside)


def _windows(
    painted: np.ndarray,
    plane: Plane,
    v: np.ndarray,
    height: np.ndarray,
    built: np.ndarray,
    light: Light,
    rng: Rng,
) -> np.ndarray | None:
    """Windows, shop fronts, cornices and roofs, in place; returns the light of lit windows (H, n), if any."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(segment, name) for segment in plane.segments], np.float32)[plane.segment]

    def colors(name: str) -> np.ndarray:
        return np.array([getattr(segment, name) for segment in plane.segments], np.float32).T[:, plane.segment]

    panes = np.array([segment.pane for segment in plane.segments], np.float32).T[:, plane.segment]
    base, eaves = column("base"), height - column("roof")
    bay = plane.along / column("bay")
    bay_index = np.floor(bay)
    in_bay = (np.abs(bay - bay_index - np.float32(0.5)) < panes[0] / 2) & built
    level = (v - base) / column("story")
    story = np.floor(level)
    part = level - story
    below = (v < base) & built
    np.copyto(painted, colors("base_color")[:, None, :] * np.float32(0.8), where=below)
    cornice = (part < 0.07) & built & (story > 0)
    painted *= 1 - np.float32(0.28) * cornice
    in_story = (np.abs(part - np.float32(0.52)) < panes[1] / 2) & (v > base) & (v < eaves - np.float32(0.3))
    shop = below & (v > 0.35) & (v < base - np.float32(0.7)) & (np.abs(bay - bay_index - np.float32(0.5)) < 0.42)
    glass = (in_story & in_bay) | shop
    own = sample(noise(1, 1), story * np.float32(11) + np.float32(1100), bay_index * np.float32(5) + np.float32(5000))
    # frames: the middle of each pane is barred
    frame = np.abs(bay - bay_index - np.float32(0.5)) < np.float32(0.03)
    reflect = (np.float32(0.07) + np.float32(0.05) * own)[None] * (1 + frame * np.float32(2))
    tint = (light.air * np.float32(0.7) + np.float32(0.3))[:, None, None]
    np.copyto(painted, reflect * tint, where=glass)
    roof = (v > eaves) & built
    np.copyto(painted, colors("roof_color")[:, None, :] * (1 + (v * 3 % 1 < 0.3) * np.float32(-0.25)), where=roof)
    if light.kind in ("sun", "overcast"):
        return None
    lit = glass & ((own > np.float32(rng.between(-0.2, 0.7))) | shop)
    return lit * np.float32(rng.between(0.35, 0.8))


def _bars(
    painted: np.ndarray,
    behind: np.ndarray,
    along: np.ndarray,
    v: np.ndarray,
    height: np.ndarray,
    fenced: np.ndarray,
) -> None:
    """A fence's rails and bars; what lies behind shows between them."""
    post = (along % np.float32(2.4)) < np.float32(0.16)
    bar = (along % np.float32(0.3)) < np.float32(0.12)
    rail = (np.abs(v - height * np.float32(0.9)) < 0.06) | (np.abs(v - height * np.float32(0.15)) < 0.06)
    through = fenced & ~(post | bar | rail)
    np.copyto(painted, behind * np.float32(0.9), where=through)

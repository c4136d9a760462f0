"""Canvas, shapes and sprites, rasterised with + - * / only, so that pictures are the same on any machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streetlab.synthetic.rng import Rgb

Point = tuple[float, float]


@dataclass(frozen=True)
class Canvas:
    """A picture being drawn: `color` (3, H, W) float32 radiance, `mask` (H, W) uint8 train ids."""

    color: np.ndarray
    mask: np.ndarray

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])


@dataclass(frozen=True)
class Sprite:
    """A flat figure, drawn once at high resolution and pasted at any size and in any colours.

    Args:
        parts: (h, w) uint8; 0 is transparent, others index the palette and `classes`.
        shade: (h, w) float32 factor on the palette's colour.
        classes: (P,) uint8 train id of each part.
        left, bottom, width, height: where the figure lies from its anchor (the foot), in metres.
    """

    parts: np.ndarray
    shade: np.ndarray
    classes: np.ndarray
    left: float
    bottom: float
    width: float
    height: float


def turn(angle: float) -> Point:
    """Cosine and sine, rounded so that the C library's last digit has no effect."""
    return round(math.cos(angle), 6), round(math.sin(angle), 6)


def ring(x: float, y: float, rx: float, ry: float, count: int = 12) -> list[Point]:
    """Corners of a polygon that approximates an ellipse."""
    turns = [turn(2 * math.pi * i / count) for i in range(count)]
    return [(x + rx * c, y + ry * s) for c, s in turns]


def polygon_cover(points: Sequence[Point], xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(len(ys), len(xs)) bool: which grid points lie inside, by the even-odd rule."""
    inside = np.zeros((len(ys), len(xs)), bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 == y1:
            continue
        crosses = (ys < y0) != (ys < y1)
        at = x0 + (ys - y0) * ((x1 - x0) / (y1 - y0))
        inside ^= crosses[:, None] & (xs < at[:, None])
    return inside


@dataclass
class Sketch:
    """A sprite being drawn in metres: x to the right of the anchor, y up from it.

    Args:
        left, bottom, width, height: the drawn area in metres.
        rows: texels over the height; texels are square.
    """

    left: float
    bottom: float
    width: float
    height: float
    rows: int = 96
    xs: np.ndarray = field(init=False)
    ys: np.ndarray = field(init=False)
    parts: np.ndarray = field(init=False)
    shade: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        columns = max(4, round(self.rows * self.width / self.height))
        self.xs = self.left + (np.arange(columns) + 0.5) * (self.width / columns)
        self.ys = self.bottom + self.height - (np.arange(self.rows) + 0.5) * (self.height / self.rows)
        self.parts = np.zeros((self.rows, columns), np.uint8)
        self.shade = np.ones((self.rows, columns), np.float32)

    def fill(self, cover: np.ndarray, part: int, shade: float | np.ndarray = 1.0) -> None:
        self.parts[cover] = part
        self.shade[cover] = shade[cover] if isinstance(shade, np.ndarray) else shade

    def polygon(self, points: Sequence[Point], part: int, shade: float = 1.0, foot: float | None = None) -> None:
        """`foot`: the shade at the lowest corner where it differs from the highest."""
        cover = polygon_cover(points, self.xs, self.ys)
        if foot is None:
            self.fill(cover, part, shade)
            return
        low, high = min(y for _, y in points), max(y for _, y in points)
        ramp = np.clip((self.ys - low) / max(high - low, 1e-6), 0, 1) * (shade - foot) + foot
        self.fill(cover, part, np.broadcast_to(ramp[:, None].astype(np.float32), cover.shape))

    def box(self, x0: float, y0: float, x1: float, y1: float, part: int, shade: float = 1.0) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], part, shade)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, part: int, shade: float = 1.0, round_: float = 0.0
    ) -> None:
        """`round_`: how much lighter the upper left and darker the lower right is, as on a ball."""
        u, v = (self.xs - x) / rx, (self.ys - y) / ry
        cover = (u * u)[None, :] + (v * v)[:, None] < 1
        light = shade * (1 + round_ * (v[:, None] - 0.4 * u[None, :]))
        self.fill(cover, part, light.astype(np.float32))

    def line(self, start: Point, end: Point, width: float, part: int, shade: float = 1.0) -> None:
        (x0, y0), (x1, y1) = start, end
        length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2) or 1.0
        # a line thinner than a texel would leave gaps
        half = max(width, 1.1 * self.height / self.rows) / 2
        nx, ny = (y0 - y1) / length * half, (x1 - x0) / length * half
        corners = [(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)]
        self.polygon(corners, part, shade)

    def speckle(self, table: np.ndarray, amount: float, part: int | None = None) -> None:
        """Multiplies the shade by noise, within one part or everywhere."""
        rows, columns = self.parts.shape
        tiled = np.tile(table, (rows // len(table) + 1, columns // len(table) + 1))
        factor = 1 + amount * tiled[:rows, :columns]
        where = self.parts == part if part is not None else self.parts > 0
        self.shade[where] *= factor[where]

    def sprite(self, classes: Sequence[int]) -> Sprite:
        """`classes`: the train id of part 1, 2, ...; part 0 is transparent."""
        ids = np.array([255, *classes], np.uint8)
        return Sprite(self.parts, self.shade, ids, self.left, self.bottom, self.width, self.height)


def palette(colors: Sequence[Rgb]) -> np.ndarray:
    """(3, P + 1) float32; column 0 belongs to the transparent part."""
    return np.array([(0.0, 0.0, 0.0), *colors], np.float32).T


def paste(
    canvas: Canvas,
    sprite: Sprite,
    foot: Point,
    scale: float,
    colors: np.ndarray,
    haze: np.ndarray | None = None,
    flip: bool = False,
) -> None:
    """Draw an upright sprite.

    Args:
        foot: column and row in pixels where its anchor stands.
        scale: pixels per metre.
        colors: (3, P + 1) float32, lit and already dimmed by the haze.
        haze: (3,) float32 light that the air adds.
    """
    width, height = sprite.width * scale, sprite.height * scale
    x = foot[0] - (sprite.left + sprite.width if flip else -sprite.left) * scale
    y = foot[1] - (sprite.bottom + sprite.height) * scale
    x0, x1 = max(0, math.ceil(x - 0.5)), min(canvas.width, math.ceil(x + width - 0.5))
    y0, y1 = max(0, math.ceil(y - 0.5)), min(canvas.height, math.ceil(y + height - 0.5))
    if x1 <= x0 or y1 <= y0:
        return
    rows, columns = sprite.parts.shape
    i = ((np.arange(y0, y1) + (0.5 - y)) * (rows / height)).astype(np.int32).clip(0, rows - 1)
    j = ((np.arange(x0, x1) + (0.5 - x)) * (columns / width)).astype(np.int32).clip(0, columns - 1)
    if flip:
        j = (columns - 1) - j
    at = i[:, None] * columns + j
    parts = sprite.parts.ravel().take(at)
    drawn = colors.take(parts, axis=1) * sprite.shade.ravel().take(at)
    if haze is not None:
        drawn += haze[:, None, None]
    covered = parts > 0
    np.copyto(canvas.color[:, y0:y1, x0:x1], drawn, where=covered)
    np.copyto(canvas.mask[y0:y1, x0:x1], sprite.classes.take(parts), where=covered)


@dataclass(frozen=True)
class Patch:
    """The box of pixels that a stamp touches, and the stamp's own coordinates (-1 .. 1) there."""

    rows: slice
    columns: slice
    u: np.ndarray
    v: np.ndarray


def patch(
    shape: tuple[int, int], center: Point, radius: Point, angle: float = 0.0, squash: float = 1.0
) -> Patch | None:
    """A box around a rotated, then vertically squashed rectangle; None where it misses the picture.

    Args:
        shape: (H, W) of the picture.
        center: column and row in pixels.
        radius: half extents in pixels along the stamp's own axes, before squashing.
        angle: radians on the ground.
        squash: foreshortening of the rows (1 = seen from above).
    """
    c, s = turn(angle)
    reach_x = abs(c) * radius[0] + abs(s) * radius[1]
    reach_y = (abs(s) * radius[0] + abs(c) * radius[1]) * squash
    x0, x1 = max(0, math.ceil(center[0] - reach_x - 0.5)), min(shape[1], math.ceil(center[0] + reach_x - 0.5))
    y0, y1 = max(0, math.ceil(center[1] - reach_y - 0.5)), min(shape[0], math.ceil(center[1] + reach_y - 0.5))
    if x1 <= x0 or y1 <= y0:
        return None
    dx = np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - center[0])
    dy = (np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - center[1])) / np.float32(squash)
    u = dx * np.float32(c / radius[0]) + dy * np.float32(s / radius[0])
    v = dy * np.float32(c / radius[1]) - dx * np.float32(s / radius[1])
    return Patch(slice(y0, y1), slice(x0, x1), u, v)


def texels(sprite: Sprite, at: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Parts and shade of a sprite laid over a patch; 0 outside of it."""
    rows, columns = sprite.parts.shape
    i = ((at.v + 1) * np.float32(rows / 2)).astype(np.int32)
    j = ((at.u + 1) * np.float32(columns / 2)).astype(np.int32)
    inside = (at.u > -1) & (at.u < 1) & (at.v > -1) & (at.v < 1)
    index = np.where(inside, i * columns + j, 0)
    parts = sprite.parts.ravel().take(index)
    parts[~inside] = 0
    return parts, sprite.shade.ravel().take(index)

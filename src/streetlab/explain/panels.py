"""Panels: a photo, the maps over it and the classes' probabilities side by side in one picture."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streetlab.datasets.labels import Color, LabelSpace
from streetlab.io.filenames import one_line
from streetlab.plots.figure import INK, MUTED, RULE, hex_color
from streetlab.plots.heat import heat_colors, heat_overlay

TALL = 224
"""Height of the pictures in a panel, in pixels."""
_WIDEST = 448
_GAP, _MARGIN, _LINE = 10, 16, 20
_BARS = 210
_LONGEST = 110


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a panel.

    Args:
        title: stands above it.
        pixels: (H, W, 3) uint8.
        color: of the class that it is about.
    """

    title: str
    pixels: NDArray[np.uint8]
    color: Color | None = None


def photo_for_panel(photo: Image.Image) -> Image.Image:
    """The photo at a panel's height, its shape kept."""
    width = min(_WIDEST, max(1, round(photo.width * TALL / photo.height)))
    return photo.convert("RGB").resize((width, TALL), Image.Resampling.LANCZOS)


def heat_tile(title: str, photo: Image.Image, heat: NDArray[np.float32], color: Color | None = None) -> Tile:
    """The photo with a map (h, w) of 0 to 1 over it, which covers the whole of it whatever its own shape."""
    grown = Image.fromarray(np.asarray(heat, dtype=np.float32)).resize(photo.size, Image.Resampling.BILINEAR)
    return Tile(title, heat_overlay(photo, np.clip(np.asarray(grown), 0, 1)), color)


def draw_panel(
    heading: str,
    name: str,
    tiles: Sequence[Tile],
    scale: float | None = None,
    probabilities: Sequence[float] | NDArray[np.float64] | None = None,
    label_space: LabelSpace | None = None,
) -> bytes:
    """JPEG bytes of the tiles in a row under a heading, with the photo's name below them.

    Args:
        scale: the value at the bright end of the maps' colours.
        probabilities: K of them, drawn as bars beside the tiles, in the colours of `label_space`.
    """
    bars = probabilities is not None and label_space is not None
    width = 2 * _MARGIN + sum(tile.pixels.shape[1] for tile in tiles) + _GAP * (len(tiles) - 1)
    width += _GAP + _BARS if bars else 0
    width = max(width, 620)
    top = _MARGIN + 2 * _LINE + 8
    canvas = Image.new("RGB", (width, top + TALL + _LINE + 14 + _MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 4), _printable(heading, 90), fill=INK, font=_font(15, bold=True))
    left = _MARGIN
    for tile in tiles:
        indent = 0
        if tile.color is not None:
            draw.rectangle((left, top - 17, left + 10, top - 7), fill=tile.color)
            indent = 16
        fitting = _fitting(tile.title, tile.pixels.shape[1] - indent)
        draw.text((left + indent, top - 21), fitting, fill=INK, font=_font(12))
        canvas.paste(Image.fromarray(tile.pixels), (left, top))
        left += tile.pixels.shape[1] + _GAP
    if probabilities is not None and label_space is not None:
        _draw_bars(draw, left + 4, top, probabilities, label_space)
    draw.text((_MARGIN, top + TALL + 10), _printable(name), fill=MUTED, font=_font(12))
    if scale is not None:
        _draw_scale(canvas, draw, width - _MARGIN, _MARGIN - 2, scale)
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _draw_bars(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    probabilities: Sequence[float] | NDArray[np.float64],
    space: LabelSpace,
) -> None:
    """A bar for each class; of many classes the most probable."""
    step = 38
    most = TALL // step
    shown = sorted(range(len(space)), key=lambda i: -probabilities[i])[:most]
    full = _BARS - 56
    for row, label in enumerate(sorted(shown)):
        y = top + row * step
        draw.text((left, y), _fitting(space.names[label], full), fill=INK, font=_font(12))
        draw.rectangle((left, y + 18, left + full, y + 27), fill=RULE)
        value = float(probabilities[label])
        draw.rectangle((left, y + 18, left + round(full * value), y + 27), fill=space.palette[label])
        draw.text((left + full + 8, y + 14), f"{value:.2f}", fill=MUTED, font=_font(12))


def _draw_scale(canvas: Image.Image, draw: ImageDraw.ImageDraw, right: int, top: int, scale: float) -> None:
    """The maps' colours from 0 to the value at their bright end."""
    ramp = heat_colors()[np.linspace(0, 255, 110).astype(int), :3]
    end = f"{scale:.3g}"
    text = round(_font(12).getlength(end))
    left = right - text - 6 - 110
    canvas.paste(Image.fromarray(np.repeat(ramp[None], 10, axis=0)), (left, top + 4))
    draw.text((right - text, top), end, fill=MUTED, font=_font(12))
    draw.text((left - 14, top), "0", fill=MUTED, font=_font(12))


def file_names(names: Sequence[str]) -> list[str]:
    """For each class a name of its own that any file system takes."""
    ascii_only = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in names]
    safe = [re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] for name in ascii_only]
    clash = [not name or safe.count(name) > 1 for name in safe]
    return [f"{name}_{i}".strip("_") if both else name for i, (name, both) in enumerate(zip(safe, clash, strict=True))]


def swatches(label_space: LabelSpace) -> list[dict[str, Any]]:
    """Name and colour of each class, as pages want them."""
    pairs = zip(label_space.names, label_space.palette, strict=True)
    return [{"id": i, "name": name, "color": hex_color(color)} for i, (name, color) in enumerate(pairs)]


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font: it is there wherever the figures are, and has Latin, Greek and Cyrillic."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def _fitting(text: str, width: int) -> str:
    """The text, its end cut so that it is no wider than `width` pixels."""
    text = _printable(text)
    while len(text) > 1 and _font(12).getlength(text) > width:
        text = text[:-2] + "…"
    return text


def _printable(text: str, longest: int = _LONGEST) -> str:
    """The text without line breaks and what fonts cannot draw; of a long one the end, which tells files apart."""
    clean = one_line(text)
    return clean if len(clean) <= longest else f"…{clean[-longest + 1 :]}"

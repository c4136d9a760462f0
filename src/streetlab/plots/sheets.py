"""Contact sheets: whole photos, framed in the colour of the prediction, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.labels import Color, LabelSpace
from streetlab.io.filenames import one_line
from streetlab.plots.figure import INK, MUTED, hex_color

_TILE = 1.9
_GAP = 0.16
_LINE = 0.165
_MARGIN = 0.2
_LONGEST = 27
_PIXELS = 400


@dataclass(frozen=True, eq=False)
class SheetPhoto:
    """One photo of a sheet.

    Args:
        image: a PIL image or an array (H, W, 3) uint8.
        lines: the caption, the first line in ink, the others quieter.
        color: the frame's RGB colour (0-255).
    """

    image: Image.Image | NDArray[np.uint8]
    lines: tuple[str, ...]
    color: Color


def prediction_photo(
    image: Image.Image | NDArray[np.uint8],
    name: str,
    label: int,
    prediction: int,
    probability: float,
    label_space: LabelSpace,
) -> SheetPhoto:
    """A photo with the caption `true Clean / predicted Litter 0.93` and its file's name.

    Args:
        name: the file's path; its last part is shown.
        label, prediction: class ids.
        probability: of the predicted class, 0 to 1.
    """
    names = label_space.names
    # truth and prediction on lines of their own: class names may be long
    lines = (f"true {names[label]}", f"predicted {names[prediction]} {probability:.2f}", PurePath(name).name)
    return SheetPhoto(image, lines, label_space.palette[prediction])


def photo_sheet(items: Sequence[SheetPhoto], columns: int = 6, title: str = "") -> Figure:
    """Lay photos out in rows of `columns`, in the order given; no photo is cropped.

    Raises:
        ValueError: `columns` is below 1.
    """
    if columns < 1:
        raise ValueError(f"columns: found {columns}, allowed 1 or more")
    columns = min(columns, max(1, len(items)))
    rows = max(1, math.ceil(len(items) / columns))
    captions = max((len(item.lines) for item in items), default=1) * _LINE + 0.08
    top = 0.42 if title else 0.0
    # a narrow sheet still has to hold its title
    width = max(columns * (_TILE + _GAP) - _GAP + 2 * _MARGIN, 0.095 * len(title) + 2 * _MARGIN)
    height = rows * (_TILE + captions + _GAP) - _GAP + 2 * _MARGIN + top
    figure = Figure(figsize=(width, height))
    if title:
        figure.text(
            _MARGIN / width, 1 - _MARGIN / height, title, ha="left", va="top", fontsize=11, fontweight="bold",
            color=INK, parse_math=False,
        )  # fmt: skip
    if not items:
        figure.text(0.5, 0.5, "no photos", ha="center", va="center", fontsize=9, color=MUTED)
    for position, item in enumerate(items):
        row, column = divmod(position, columns)
        left = _MARGIN + column * (_TILE + _GAP)
        bottom = height - _MARGIN - top - row * (_TILE + captions + _GAP) - _TILE
        _photo(figure, item, (left / width, bottom / height, _TILE / width, _TILE / height))
        for line, text in enumerate(item.lines):
            figure.text(
                left / width, (bottom - 0.07 - line * _LINE) / height, _shorten(text), ha="left", va="top",
                fontsize=7.5, color=MUTED if line == len(item.lines) - 1 and line else INK, parse_math=False,
            )  # fmt: skip
    return figure


def _photo(figure: Figure, item: SheetPhoto, box: tuple[float, float, float, float]) -> None:
    pixels = _reduced(item.image)
    axes = figure.add_axes(box)
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_anchor("SW")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=hex_color(item.color), linewidth=3)


def _reduced(image: object) -> NDArray[np.uint8]:
    """The photo as RGB at no more than the pixels that a tile shows."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    picture = picture.convert("RGB")
    picture.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _shorten(text: str) -> str:
    """Shorten a name in the middle: its start and end (number, suffix) distinguish files."""
    clean = one_line(text)
    if len(clean) <= _LONGEST:
        return clean
    half = (_LONGEST - 1) // 2
    return f"{clean[:half]}…{clean[-half:]}"

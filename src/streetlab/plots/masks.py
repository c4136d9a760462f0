"""Draw masks: class colours, errors, and the sheet of a run's best, median and worst images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.labels import IGNORE_INDEX, Color, LabelSpace
from streetlab.io.filenames import one_line
from streetlab.plots.figure import INK, MUTED, RULE, hex_color

WRONG = (222, 45, 38)
"""The colour of pixels with another class than the truth's."""

_RIGHT = 206
_COLUMNS = ("photo", "truth", "prediction", "errors")
_TILE = 2.9
_GAP = 0.08
_CAPTION = 0.27
_LINE = 0.2
_MARGIN = 0.2
_PIXELS = 640


@dataclass(frozen=True, eq=False)
class SegmentedPhoto:
    """One row of the sheet.

    Args:
        image: the photo, a PIL image or (H, W, 3) uint8, of any size.
        truth, prediction: (h, w) class ids of one shape, 255 = ignored.
        name: the image's id.
        miou: of this image on its own, 0 to 1; NaN where no pixel counts.
        rank: why it is shown: `best`, `median`, `worst`, or empty.
    """

    image: Image.Image | NDArray[np.uint8]
    truth: NDArray[Any]
    prediction: NDArray[Any]
    name: str
    miou: float
    rank: str = ""


def colorize(mask: NDArray[Any], label_space: LabelSpace) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a (H, W) mask of class ids; `IGNORE_INDEX` and other values without a class are black.

    Raises:
        ValueError: the mask is not two-dimensional or holds values outside 0..255.
    """
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(label_space)] = label_space.palette
    return table[_ids(mask, "mask")]


def error_map(
    truth: NDArray[Any], prediction: NDArray[Any], image: Image.Image | NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """(H, W, 3): wrong pixels red, right ones a pale grey, those that the truth ignores black.

    Args:
        truth, prediction: (H, W) class ids.
        image: the photo; where given, right pixels show it faintly in grey.

    Raises:
        ValueError: the two masks differ in shape.
    """
    true, predicted = _ids(truth, "truth"), _ids(prediction, "prediction")
    if true.shape != predicted.shape:
        raise ValueError(f"truth {true.shape} and prediction {predicted.shape} differ in shape")
    picture = np.full((*true.shape, 3), _RIGHT, dtype=np.uint8)
    if image is not None:
        grey = np.asarray(Image.fromarray(photo_at(image, true.shape)).convert("L"), dtype=np.float32)
        # lifted towards white, so that neither shadows nor black look ignored
        picture[:] = np.rint(140 + grey * (100 / 255)).astype(np.uint8)[..., None]
    picture[true != predicted] = WRONG
    picture[true == IGNORE_INDEX] = 0
    return picture


def photo_at(image: Image.Image | NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The photo as (H, W, 3) RGB at the (H, W) of a mask."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    picture = picture.convert("RGB")
    if picture.size != (shape[1], shape[0]):
        picture = picture.resize((shape[1], shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def segmentation_sheet(items: Sequence[SegmentedPhoto], label_space: LabelSpace, title: str = "") -> Figure:
    """One row per image, `photo | truth | prediction | errors`, in the order given.

    Above each row stand its rank, its mIoU and its id; below all, the colours of the classes that occur, of wrong
    pixels and, where there are any, of ignored ones.

    Raises:
        ValueError: truth and prediction of an image differ in shape.
    """
    width = 2 * _MARGIN + len(_COLUMNS) * (_TILE + _GAP) - _GAP
    top = 0.62 if title else 0.34
    reduced = [_reduced(item) for item in items]
    heights = [_TILE * truth.shape[0] / truth.shape[1] for _, truth, _ in reduced]
    legend = _legend(reduced, label_space)
    in_row = max(1, int((width - 2 * _MARGIN) / _entry_width(legend)))
    below = math.ceil(len(legend) / in_row) * _LINE + 0.1 if items else 0.5
    height = 2 * _MARGIN + top + sum(h + _CAPTION + _GAP for h in heights) + below
    figure = Figure(figsize=(width, height))

    def write(x: float, y: float, text: str, **style: Any) -> None:
        quiet: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "baseline", "parse_math": False}
        figure.text(x / width, y / height, text, **(quiet | style))

    y = height - _MARGIN
    if title:
        write(_MARGIN, y - 0.14, title, fontsize=12, fontweight="bold")
    if not items:
        write(width / 2, height / 2, "no images", ha="center", color=MUTED)
        return figure
    y -= top
    for column, word in enumerate(_COLUMNS):
        write(_MARGIN + column * (_TILE + _GAP), y + 0.08, word, color=MUTED)
    for item, (photo, truth, prediction), tall in zip(items, reduced, heights, strict=True):
        score = "no pixel counts" if math.isnan(item.miou) else f"mIoU {item.miou:.3f}"
        write(_MARGIN, y - 0.18, f"{item.rank}  {score}".strip(), fontweight="bold")
        write(width - _MARGIN, y - 0.18, _shorten(item.name), ha="right", color=MUTED, fontsize=8)
        y -= _CAPTION + tall
        pictures = (
            photo,
            colorize(truth, label_space),
            colorize(prediction, label_space),
            error_map(truth, prediction, photo),
        )
        for column, picture in enumerate(pictures):
            left = _MARGIN + column * (_TILE + _GAP)
            axes = figure.add_axes((left / width, y / height, _TILE / width, tall / height))
            axes.imshow(picture, interpolation="antialiased" if column == 0 else "nearest")
            axes.set_axis_off()
        y -= _GAP
    for position, (word, color) in enumerate(legend):
        line, place = divmod(position, in_row)
        x, at = _MARGIN + place * _entry_width(legend), y - 0.1 - line * _LINE
        figure.add_artist(
            Rectangle(
                (x / width, (at - 0.13) / height), 0.13 / width, 0.13 / height, transform=figure.transFigure,
                facecolor=hex_color(color), edgecolor=RULE, linewidth=0.6,
            )
        )  # fmt: skip
        write(x + 0.19, at - 0.11, word, fontsize=8.5)
    return figure


def _reduced(item: SegmentedPhoto) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
    """Photo, truth and prediction at no more pixels than a tile shows; masks keep their values."""
    truth, prediction = np.asarray(item.truth), np.asarray(item.prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"{item.name}: truth {truth.shape} and prediction {prediction.shape} differ in shape")
    step = max(1, math.ceil(max(truth.shape) / _PIXELS))
    # the middle of each step × step block, not its corner, which would shift the mask against the photo
    cut = slice(step // 2, None, step)
    truth, prediction = truth[cut, cut], prediction[cut, cut]
    return photo_at(item.image, truth.shape), truth, prediction


def _legend(rows: Sequence[tuple[Any, NDArray[Any], NDArray[Any]]], label_space: LabelSpace) -> list[tuple[str, Color]]:
    """Word and colour of each class that occurs, in class order."""
    occur = {int(value) for _, *masks in rows for mask in masks for value in np.unique(mask)}
    entries: list[tuple[str, Color]] = [
        (name, color)
        for index, (name, color) in enumerate(zip(label_space.names, label_space.palette, strict=True))
        if index in occur
    ]
    entries.append(("wrong pixel", WRONG))
    if any(value >= len(label_space) for value in occur):
        entries.append(("ignored", (0, 0, 0)))
    return entries


def _entry_width(legend: Sequence[tuple[str, Color]]) -> float:
    return 0.4 + 0.075 * max(len(word) for word, _ in legend)


def _shorten(text: str, longest: int = 90) -> str:
    clean = one_line(text)
    return clean if len(clean) <= longest else f"…{clean[-longest + 1 :]}"


def _ids(mask: NDArray[Any], what: str) -> NDArray[np.uint8]:
    ids = np.asarray(mask)
    if ids.ndim != 2:
        raise ValueError(f"{what}: shape {ids.shape}, expected (H, W)")
    if ids.dtype != np.uint8:
        if ids.size and (ids.min() < 0 or ids.max() > IGNORE_INDEX):
            raise ValueError(f"{what}: values {ids.min()}..{ids.max()}, allowed 0..{IGNORE_INDEX}")
        ids = ids.astype(np.uint8)
    return ids

"""The gallery explain.html: a summary of the scores, then one filterable card per photo."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.explain.panels import swatches
from streetlab.plots.figure import hex_color
from streetlab.plots.heat import heat_colors
from streetlab.plots.page import inline_jpeg, inline_png, render

PHOTO_SIDE = 224
"""Longer side of a photo on the page, in pixels."""
_OPAQUE = 0.8
"""How much of the photo a mask hides where the page's slider stands at its end."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A picture that lies over a photo: a map's heat, or a mask's colours.

    Args:
        title: what it shows.
        source: a `data:` address of a picture with transparency.
        label: the class id it is about; None for masks of many classes.
        note: a number that belongs to it.
    """

    title: str
    source: str
    label: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Card:
    """One photo of the gallery.

    Args:
        name: the photo's id, shown as text.
        outcome: `correct` or `wrong`; `best` or `worst` with masks.
        score: 0 to 1, what the cards are sorted by: confidence, or the image's mIoU.
        photo: a `data:` address.
        ratio: its width by its height.
        layers: what can lie over it, the first one does from the beginning.
        true, predicted: class ids, where the photo has one.
    """

    name: str
    outcome: str
    score: float
    photo: str
    ratio: float
    layers: Sequence[Layer]
    true: int | None = None
    predicted: int | None = None

    @property
    def labels(self) -> str:
        """The classes of its layers, as the page's script reads them."""
        return " ".join(str(layer.label) for layer in self.layers if layer.label is not None)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Everything that the page shows.

    Args:
        title, notes: what was explained, and how.
        space: the classes.
        scale: the maps' value at the bright end of the colours.
        cards: in the order they are first shown.
        sentences: what the scores say.
        figures: name → SVG.
        pairs: (K, K) counts of the split, the row is the truth; None with masks.
    """

    title: str
    notes: Sequence[str]
    space: LabelSpace
    scale: float
    cards: Sequence[Card]
    sentences: Sequence[str] = ()
    figures: Mapping[str, Markup] = field(default_factory=dict)
    pairs: NDArray[np.int64] | None = None


def gallery_page(gallery: Gallery) -> str:
    """The page as HTML text."""
    outcomes = list(dict.fromkeys(card.outcome for card in gallery.cards))
    return render(
        "explain.html",
        title=gallery.title,
        notes=list(gallery.notes),
        classes=swatches(gallery.space),
        classification=not gallery.space.spec.per_pixel,
        score=gallery.space.spec.image_score,
        scale=f"{gallery.scale:.3g}",
        ramp=_ramp(),
        cards=gallery.cards,
        outcomes=outcomes,
        sentences=list(gallery.sentences),
        figures=dict(gallery.figures),
        pairs=_pair_table(gallery) if gallery.pairs is not None else None,
        with_maps=sorted({layer.label for card in gallery.cards for layer in card.layers if layer.label is not None}),
    )


def inline_photo(photo: Image.Image) -> str:
    """A `data:` address of the photo as JPEG, `PHOTO_SIDE` pixels on its longer side at most."""
    picture = photo.convert("RGB")
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    return inline_jpeg(picture, quality=80)


def inline_heat(heat: NDArray[np.float32]) -> str:
    """A `data:` address of a map (h, w) of 0 to 1 as PNG in the map's colours, the more opaque the hotter.

    The browser enlarges it; as indices into 256 colours it takes a fifth of the bytes.
    """
    table = heat_colors()
    return _indexed(np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8), table[:, :3], table[:, 3])


def inline_mask(mask: NDArray[np.uint8], label_space: LabelSpace) -> str:
    """A `data:` address of class ids (h, w) as PNG in the classes' colours; ignored pixels are transparent."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[: len(label_space)] = label_space.palette
    opacity = np.full(256, round(255 * _OPAQUE), dtype=np.uint8)
    opacity[IGNORE_INDEX] = 0
    return _indexed(mask, colors, opacity)


def _indexed(ids: NDArray[np.uint8], colors: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(ids, "L")
    picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=opacity.tobytes(), optimize=True)
    return inline_png(buffer.getvalue())


def _ramp() -> str:
    """CSS stops of the maps' colours."""
    return ", ".join(hex_color((r, g, b)) for r, g, b, _ in heat_colors()[::51].tolist())


def _pair_table(gallery: Gallery) -> list[dict[str, Any]]:
    """The rows of the confusion matrix: each cell's count, its share of the row, and how many photos are shown."""
    assert gallery.pairs is not None
    shown = [(card.true, card.predicted) for card in gallery.cards]
    rows = []
    for true, counts in enumerate(gallery.pairs.tolist()):
        total = max(1, sum(counts))
        cells = [
            {"count": count, "share": round(100 * count / total), "shown": shown.count((true, predicted))}
            for predicted, count in enumerate(counts)
        ]
        rows.append({"true": true, "cells": cells})
    return rows

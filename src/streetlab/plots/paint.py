"""Paint class ids over a photo; the page, the command and the downloads use the same pixels."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Discriminator, Field, Tag

from streetlab.config.options import CLOSED, Flag, Says, Share, WholeNumber, checked, short
from streetlab.datasets.labels import Color, LabelSpace
from streetlab.errors import UserError

_ClassId = Annotated[WholeNumber, Field(ge=0, le=255), Says("a class id")]
_HexColor = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$"), Says("a colour, written #rrggbb")]
_ROWS = 32
"""Rows of pixels that are mixed at once: what that needs stays in a core's cache."""
_PHOTO, _FULL = 255, 256
"""Ways to paint a pixel besides its id's colour at `alpha` (0-254): not at all; 256 + id: at weight 1."""


@dataclass(frozen=True)
class PaintStyle:
    """Style in which class ids are shown over a photo.

    Args:
        palette: one RGB colour (0-255) per class.
        alpha: weight of the colour, 0 (photo only) to 1.
        hidden: ids whose pixels show the photo.
        outlines: borders between classes are drawn at weight 1.
        threshold: pixels of less confidence (0 to 1) show the photo.

    Raises:
        ValueError: alpha or threshold is outside 0..1, or there are more than 255 classes.
    """

    palette: tuple[Color, ...]
    alpha: float = 0.5
    hidden: frozenset[int] = frozenset()
    outlines: bool = False
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for key in ("alpha", "threshold"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key}: found {getattr(self, key)}, allowed 0 to 1")
        if len(self.palette) > _PHOTO:
            raise ValueError(f"{len(self.palette)} classes; a mask of 8 bits holds {_PHOTO}")

    @classmethod
    def from_dict(cls, plain: Any, label_space: LabelSpace) -> PaintStyle:
        """Read a style as the page sends it; see `PaintRequest`.

        Raises:
            UserError: a key or value that is none of its, or a class that the label space has not.
        """
        return checked(PaintRequest, plain, "look").style(label_space)


class PaintRequest(BaseModel):
    """The paint style of an overlay; missing fields have the page's defaults."""

    model_config = CLOSED
    alpha: Share | None = None
    hidden: Annotated[list[_ClassId] | None, Field(max_length=256), Says("a list of class ids")] = None
    colors: Annotated[
        Annotated[dict[str, _HexColor], Field(max_length=256), Tag("object")]
        | Annotated[list[_HexColor], Field(max_length=256), Tag("list")]
        | Annotated[None, Tag("null")],
        Discriminator(lambda value: {dict: "object", list: "list", type(None): "null"}.get(type(value))),
        Says("an object of class id and colour, or a list"),
    ] = None
    outlines: Flag | None = None
    threshold: Share | None = Field(default=None, description="Pixels of less confidence are not painted")

    def given(self) -> dict[str, Any]:
        """The fields that were given, as JSON holds them."""
        return self.model_dump(exclude_none=True)

    def style(self, label_space: LabelSpace) -> PaintStyle:
        """The style for a model's classes; what is left out is as the label space and `PaintStyle` have it.

        Raises:
            UserError: a class that the label space has not.
        """
        changed = self.given() | {"palette": self._palette(label_space)}
        changed["hidden"] = frozenset(_class_id(entry, "hidden", len(label_space)) for entry in self.hidden or ())
        changed.pop("colors", None)
        return PaintStyle(**changed)

    def _palette(self, label_space: LabelSpace) -> tuple[Color, ...]:
        palette = list(label_space.palette)
        if isinstance(self.colors, list):
            if len(self.colors) != len(palette):
                raise UserError(f"look.colors: found {len(self.colors)} colours; the model has {len(palette)} classes")
            return tuple(map(_color, self.colors))
        for key, value in (self.colors or {}).items():
            number = int(key) if re.fullmatch(r"[0-9]{1,3}", key) else -1
            palette[_class_id(number, "colors", len(palette), key)] = _color(value)
        return tuple(palette)


def paint(
    photo: NDArray[np.uint8], ids: NDArray[np.uint8], look: PaintStyle, confidence: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the photo where a pixel's class is not shown, else `floor(photo*(1-alpha) + color*alpha + 0.5)`.

    A class is shown unless it is hidden, has no colour, or its confidence is below `threshold * 255`. With outlines,
    a shown pixel one of whose four neighbours inside the picture has another id is painted at weight 1.

    Args:
        photo: (H, W, 3) uint8.
        ids: (H, W) uint8.
        confidence: (H, W) uint8, the share of 255; without it no pixel is below the threshold.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if photo.shape != (*ids.shape, 3) or (confidence is not None and confidence.shape != ids.shape):
        others = "" if confidence is None else f", confidence {confidence.shape}"
        raise ValueError(f"photo {photo.shape}, ids {ids.shape}{others} do not fit each other")
    ways = _ways(ids, look, confidence)
    mixed = _mixed(look.palette, look.alpha)
    painted = np.empty_like(photo)
    for top in range(0, ids.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        offsets = ways[rows].astype(np.intp) * 256
        for channel in range(3):
            painted[rows, :, channel] = mixed[channel].take(offsets + photo[rows, :, channel])
    return painted


def class_shares(ids: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """(K,) share of each class among the pixels that have one; they sum to 1, or are all 0 where no pixel has one."""
    counts = np.array(Image.fromarray(np.ascontiguousarray(ids)).histogram()[:classes], np.float64)
    return counts / max(counts.sum(), 1.0)


def ids_png(ids: NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 ids as an 8-bit grey PNG: the value of a pixel is its id."""
    return _png(Image.fromarray(np.ascontiguousarray(ids)))


def palette_png(ids: NDArray[np.uint8], palette: tuple[Color, ...]) -> bytes:
    """The same ids as a PNG that shows them in colours: places in its palette, black where there is no class."""
    picture = Image.fromarray(np.ascontiguousarray(ids)).convert("P")
    picture.putpalette(np.array([*palette, *[(0, 0, 0)] * (256 - len(palette))], dtype=np.uint8).tobytes())
    return _png(picture)


def _ways(ids: NDArray[np.uint8], look: PaintStyle, confidence: NDArray[np.uint8] | None) -> NDArray[np.uint16]:
    """(H, W) uint16: the row of `_mixed` that paints each pixel."""
    way_of = np.full(256, _PHOTO, dtype=np.uint16)
    shown_ids = [i for i in range(len(look.palette)) if i not in look.hidden]
    way_of[shown_ids] = shown_ids
    ways = np.empty(ids.shape, np.uint16)
    for top in range(0, len(ids), _ROWS):  # at once, the ids would be needed as integers of 8 bytes
        ways[top : top + _ROWS] = way_of.take(ids[top : top + _ROWS])
    if confidence is not None and look.threshold > 0:
        ways[confidence < look.threshold * 255] = _PHOTO
    if look.outlines:
        ways[_borders(ids) & (ways != _PHOTO)] += _FULL
    return ways


def _borders(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): pixels one of whose four neighbours has another id."""
    found = np.zeros(ids.shape, dtype=bool)
    vertical, horizontal = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    found[1:] |= vertical
    found[:-1] |= vertical
    found[:, 1:] |= horizontal
    found[:, :-1] |= horizontal
    return found


@lru_cache(maxsize=8)
def _mixed(palette: tuple[Color, ...], alpha: float) -> list[NDArray[np.uint8]]:
    """Table for each channel: entry `way * 256 + value` is the painted value of a photo's value."""
    colors = np.zeros((256, 3))
    colors[: len(palette)] = palette
    values = np.arange(256, dtype=np.float64)
    tables = []
    for channel in range(3):
        blended = np.floor(values * (1 - alpha) + colors[:, channel, None] * alpha + 0.5)
        blended[_PHOTO] = values
        full = np.repeat(colors[:, channel, None], 256, axis=1)
        tables.append(np.concatenate([blended, full]).astype(np.uint8).reshape(-1))
    return tables


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _class_id(value: int, key: str, classes: int, typed: str | None = None) -> int:
    if not 0 <= value < classes:
        raise UserError(f"look.{key}: {short(typed or value)} is not a class id from 0 to {classes - 1}")
    return value


def _color(value: str) -> Color:
    red, green, blue = bytes.fromhex(value[1:])
    return red, green, blue

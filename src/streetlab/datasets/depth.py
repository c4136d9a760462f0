"""Reduce photos of more than 8 bits per channel to 8 by the white level that the file states."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from streetlab.io.archive import File

_FULL = 65_535
_LEAST = 1 << 14
"""Values that stay below it have 14 bits or fewer: taken for 16 bits they would be a dark or black photo."""
_COLOURS = {f"{mode};16{order}" for mode in ("RGB", "RGBX", "RGBA", "LA") for order in "BLN"}
"""Raw modes of which Pillow keeps the high byte of each value."""
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_MIN_IS_WHITE = 0
_BITS, _PHOTOMETRIC, _LARGEST_USED, _LARGEST = 258, 262, 281, 341
"""TIFF's BitsPerSample, PhotometricInterpretation, MaxSampleValue and SMaxSampleValue."""


class Depth:
    """The header of an opened image, as far as it concerns values of more than 8 bits.

    Args:
        opened: not decoded yet.
        path: its file.
    """

    def __init__(self, opened: ImageFile.ImageFile, path: File) -> None:
        self._raw_mode = raw_mode(opened)
        self.is_deep = opened.mode.startswith("I") or self._raw_mode in _COLOURS
        self._white = _stated_white(opened, path) if self.is_deep else None
        tags = getattr(opened, "tag_v2", {})
        self._inverted = opened.mode.startswith("I") and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE

    def reduced(self, photo: Image.Image, low_bytes: Callable[[str], Image.Image]) -> Image.Image:
        """The decoded image with 8 bits a channel.

        Args:
            low_bytes: decodes the file again with this raw mode, which keeps the other byte of each value.

        Raises:
            ValueError: nothing says which value is white; the message follows the file's name.
        """
        if photo.mode.startswith("I"):
            return self._grey(photo)
        return self._colours(photo, low_bytes) if self._raw_mode in _COLOURS else photo

    def _grey(self, photo: Image.Image) -> Image.Image:
        values = np.asarray(photo)
        table, shift = self._table(int(values.max(initial=0)))
        grey = table[(values.clip(0) >> shift).clip(0, len(table) - 1)]
        if "transparency" in photo.info:
            grey[values == photo.info["transparency"]] = 255
        return Image.fromarray(grey)

    def _colours(self, photo: Image.Image, low_bytes: Callable[[str], Image.Image]) -> Image.Image:
        high = np.asarray(photo)
        colours = slice(0, 3)
        least = 256 * int(high[..., colours].max(initial=0))
        if least > (self._white or _LEAST - 1) or (self._white == _FULL and least):
            return photo
        if self._raw_mode.startswith("LA"):  # of which Pillow has no way to the other byte
            if least:
                raise ValueError(_unclear(least + 255))
            return photo
        low = np.asarray(low_bytes(self._raw_mode[:-1] + _OTHER_BYTE[self._raw_mode[-1]]))
        values = high[..., colours].astype(np.uint16) << 8 | low[..., colours]
        reduced = high.copy()
        reduced[..., colours] = self._table(int(values.max(initial=0)))[0][values]
        return Image.fromarray(reduced)

    def _table(self, highest: int) -> tuple[NDArray[np.uint8], int]:
        """The 8-bit value of each value, after values were shifted by so many bits to the right."""
        white = self._white
        if white is None or highest > white or (white == _FULL and highest <= 255):
            if highest > 255 and (highest > _FULL or (white is None and highest < _LEAST)):
                raise ValueError(_unclear(highest))
            white = 255 if highest <= 255 else _FULL
        shift = max(0, white.bit_length() - 16)
        white >>= shift
        table = (np.arange(white + 1, dtype=np.uint32) * 256 // (white + 1)).astype(np.uint8)
        return (table[::-1].copy() if self._inverted else table), shift


def _unclear(highest: int) -> str:
    return (
        f"holds values up to {highest} in {16 if highest <= _FULL else 32} bits and does not say which value is white "
        "(PNG: sBIT, TIFF: SMaxSampleValue); store it with 8 bits, or stretched to 0-65535"
    )


def raw_mode(opened: ImageFile.ImageFile) -> str:
    """Pillow's raw mode for the pixels of an image that is not decoded yet, such as `L;2`."""
    for tile in opened.tile:
        arguments = tile.args
        return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
    return ""


def _stated_white(opened: ImageFile.ImageFile, path: File) -> int | None:
    """The value that stands for white by the file's own words; None where it has none."""
    if opened.format in ("PPM", "JPEG2000"):  # Pillow stretches these itself
        return _FULL
    if opened.format == "PNG":
        bits = _significant_bits(path)
        return (1 << bits) - 1 if bits else None
    if opened.format != "TIFF":
        return None
    tags: Any = getattr(opened, "tag_v2", {})
    bits = _largest(tags.get(_BITS)) or 0
    if bits < 16:
        return (1 << bits) - 1 if bits else None
    white = _largest(tags.get(_LARGEST))
    if white is None:  # the other tag counts what occurs, and holds the full range where nobody has counted
        used = _largest(tags.get(_LARGEST_USED)) or 0
        white = (1 << used.bit_length()) - 1
        return white if 0 < white < _FULL else None
    return white


def _largest(value: object) -> int | None:
    """The largest of a tag's numbers; None where there is none above 0."""
    numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, int | float)]
    largest = max((n for n in numbers if math.isfinite(n)), default=0)
    return int(largest) if largest >= 1 else None


def _significant_bits(path: File) -> int | None:
    """The significant bits per colour in the chunk sBIT of a PNG; None without that chunk."""
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                return None
            if name == b"sBIT":
                bits = file.read(length)
                most = max(bits[: 3 if length >= 3 else 1], default=0)
                return most if 0 < most <= 16 else None
            file.seek(length + 4, 1)
    return None

"""Read the colours that HEIC and AVIF files state by code numbers (`nclx`), and make an ICC profile of them.

The numbers are those of ITU-T H.273. The container is that of ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from streetlab.io.archive import File

_MOST_BYTES = 1 << 20
"""Of a file's description of its items: that of a grid of a thousand tiles takes 60 kB."""
_MOST_BOXES = 1000
_D65, _DCI, _C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),  # BT.709, and sRGB's
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),  # BT.470 M
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),  # BT.601, 625 lines
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # BT.601, 525 lines
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # SMPTE ST 240
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020 and BT.2100
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),  # P3 of cinemas
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
}
"""Code → (x, y) of red, green, blue and white; H.273, table 2."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_LIKE_SRGB = (1, 2, 6, 13, 14, 15)
"""sRGB's own curve; none stated; and those of BT.709, BT.601 and BT.2020, by which cameras write for screens of about
sRGB's curve."""
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""XYZ → cone responses (Lam 1985), in which a white is adapted to another."""
_D50 = np.array([0.9642, 1.0, 0.8249])
"""White of ICC's connection space."""


@dataclass(frozen=True)
class CodedColors:
    """Primaries and transfer curve of a photo, as code numbers of H.273."""

    primaries: int
    transfer: int

    @property
    def high_range(self) -> str | None:
        """`PQ` or `HLG`, curves whose values go beyond a screen's white; None for others."""
        return _HIGH_RANGE.get(self.transfer)

    def profile(self) -> bytes | None:
        """An ICC profile of these colours; None where the numbers are unknown, or the curve is one of high range."""
        return _profile(self.primaries, self.transfer)


def read_coded_colors(opened: ImageFile.ImageFile, path: File) -> CodedColors | None:
    """Read what the primary picture of a HEIC or AVIF file states; None for other formats, or where it states nothing.

    Args:
        opened: the file, opened by Pillow.
        path: the same file.
    """
    if opened.format not in ("HEIF", "AVIF"):
        return None
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        try:
            return _of_primary_item(_meta(file))
        except (struct.error, IndexError, ValueError, OverflowError, OSError):
            return None  # whatever is wrong there, the decoder has taken the file


def _meta(file: IO[bytes]) -> bytes:
    """Body of the box that describes the file's items; empty where there is none."""
    for _ in range(_MOST_BOXES):
        head = file.read(8)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head)
        body = size - 8
        if size == 1:
            body = struct.unpack(">Q", file.read(8))[0] - 16
        if kind == b"meta":
            return file.read(min(body, _MOST_BYTES) if size else _MOST_BYTES)
        if size == 0 or body < 0:
            break
        file.seek(body, 1)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and body of each box in these bytes."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = 8
        if size == 1:
            size, start = struct.unpack_from(">Q", data, at + 8)[0], 16
        if size == 0:
            size = len(data) - at
        if size < start:
            return
        yield kind, data[at + start : at + size]
        at += size


def _of_primary_item(meta: bytes) -> CodedColors | None:
    boxes = dict(_boxes(meta[4:]))
    if not {b"pitm", b"iprp"} <= boxes.keys():
        return None
    (primary,) = struct.unpack_from(">H" if boxes[b"pitm"][0] == 0 else ">I", boxes[b"pitm"], 4)
    properties: list[tuple[bytes, bytes]] = []
    numbers: list[int] = []
    for kind, body in _boxes(boxes[b"iprp"]):
        if kind == b"ipco":
            properties = list(_boxes(body))
        elif kind == b"ipma":
            numbers += _properties_of(primary, body)
    for number in numbers:
        kind, body = properties[number - 1]
        if kind == b"colr" and body[:4] == b"nclx":
            return CodedColors(*struct.unpack_from(">HH", body, 4))
    return None


def _properties_of(item: int, associations: bytes) -> list[int]:
    """Numbers, from 1, of the properties that an item has."""
    version, wide = associations[0], associations[3] & 1
    (entries,) = struct.unpack_from(">I", associations, 4)
    at = 8
    for _ in range(entries):
        (entry,) = struct.unpack_from(">I" if version else ">H", associations, at)
        at += 4 if version else 2
        count = associations[at]
        at += 1
        if entry == item:
            numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", associations, at)
            return [number & (0x7FFF if wide else 0x7F) for number in numbers if number & (0x7FFF if wide else 0x7F)]
        at += count * (2 if wide else 1)
    return []


@lru_cache(maxsize=16)
def _profile(primaries: int, transfer: int) -> bytes | None:
    if primaries not in _PRIMARIES or transfer not in (*_LIKE_SRGB, *_GAMMAS):
        return None
    # parametric curves of ICC.1: x^g, and ((x + 0.055) / 1.055)^2.4 with a line up to 0.04045
    gamma = _GAMMAS.get(transfer)
    curve = (0, [gamma]) if gamma else (3, [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])
    parametric = b"para" + struct.pack(">IHH", 0, curve[0], 0) + _fixed(curve[1])
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(_D50)}
    for name, column in zip((b"r", b"g", b"b"), _to_d50(*_PRIMARIES[primaries]).T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(column)
        tags[name + b"TRC"] = parametric
    directory, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        directory += tag + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", start + len(body), b"", 0x04000000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return head + bytes(28) + _fixed(_D50) + bytes(48) + directory + body


def _fixed(values: list[float] | NDArray[np.float64]) -> bytes:
    """Numbers as ICC's s15Fixed16."""
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _to_d50(red: tuple[float, float], green: tuple[float, float], blue: tuple[float, float],
            white: tuple[float, float]) -> NDArray[np.float64]:  # fmt: skip
    """Matrix (3, 3) from linear red, green, blue to XYZ, adapted from their white to D50."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in (red, green, blue)]).T
    x, y = white
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ xyz)) @ _BRADFORD
    return np.asarray(adapted @ columns @ np.diag(np.linalg.solve(columns, xyz)))

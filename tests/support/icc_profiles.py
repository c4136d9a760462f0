"""ICC profiles made byte by byte from their specification (ICC.1:2001-04), so that what they mean is known."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
TO_D50 = np.array(
    [[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]]
)
"""Bradford's adaptation of XYZ from D65 to D50, as published by Lindbloom."""
SRGB_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                        [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
P3_TO_XYZ = np.array([[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869],
                      [0.0000000, 0.0451134, 1.0439444]])  # fmt: skip


def srgb_curve(values: np.ndarray) -> np.ndarray:
    """Light of each value from 0 to 1, by IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_values(light: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_curve`, clipped to 0 to 1."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _profile(space: bytes, connection: bytes, kind: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    directory, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        directory += name + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    head = struct.pack(">I4sI", size, b"\0\0\0\0", 0x02400000) + kind + space + connection
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(D50)
    return head + bytes(128 - len(head)) + directory + body


def _fixed(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _curve(of: Callable[[np.ndarray], np.ndarray]) -> bytes:
    table = np.rint(of(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
    return b"curv" + struct.pack(">II", 0, len(table)) + table.tobytes()


def _named(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78)


def rgb_profile(to_xyz: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A screen whose values give light by `curve`, and whose light gives XYZ (D65) by the matrix `to_xyz`."""
    columns = (TO_D50 @ to_xyz).T
    tags = {b"desc": _named("made"), b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(column)
        tags[letter + b"TRC"] = _curve(curve)
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_profile(curve: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A grey screen whose values give light by `curve`."""
    white = b"XYZ \0\0\0\0" + _fixed(D50)
    return _profile(b"GRAY", b"XYZ ", b"mntr", {b"desc": _named("made"), b"wtpt": white, b"kTRC": _curve(curve)})


def cmyk_profile(lightness: Callable[[int], float]) -> bytes:
    """A press on which a sheet with full inks (bits: cyan 8, magenta 4, yellow 2, black 1) is a grey of so much L*."""
    ramp = bytes(range(256))
    corners = [bytes([round(lightness(inks) * 2.55), 128, 128]) for inks in range(16)]
    table = b"mft1" + struct.pack(">IBBBB", 0, 4, 3, 2, 0) + _fixed(np.eye(3).ravel())
    table += ramp * 4 + b"".join(corners) + ramp * 3
    white = b"XYZ \0\0\0\0" + _fixed(D50)
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"desc": _named("made"), b"wtpt": white, b"A2B0": table})

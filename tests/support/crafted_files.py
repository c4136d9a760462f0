"""Image files whose contents are known: TIFF and PNG made byte by byte, others by Pillow, and broken ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHORT = 3


def tiff(
    path: Path,
    values: np.ndarray,
    bits: int,
    *,
    photometric: int = 1,
    compression: int = 1,
    order: str = "<",
    more: Sequence[tuple[int, int]] = (),
) -> Path:
    """(H, W) or (H, W, C) values of so many bits, uncompressed; `more` are tags of one SHORT each."""
    height, width, *channels = values.shape
    if bits in (8, 16):
        data = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        lines = ["".join(format(int(value), f"0{bits}b") for value in line) for line in values]
        data = b"".join(int(line, 2).to_bytes(len(line) // 8, "big") for line in lines)
    data += b"\0" * (len(data) % 2)
    tags = {256: width, 257: height, 258: bits, 259: compression, 262: photometric, 273: 8,
            277: channels[0] if channels else 1, 278: height, 279: len(data)} | dict(more)  # fmt: skip
    directory = struct.pack(f"{order}H", len(tags))
    for tag, value in sorted(tags.items()):
        directory += struct.pack(f"{order}HHIHH", tag, SHORT, 1, value, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    path.write_bytes(head + data + directory + b"\0\0\0\0")
    return path


def deep_png(
    path: Path, values: np.ndarray, kind: int = 0, significant: Sequence[int] = (), size: Sequence[int] = ()
) -> Path:
    """Values of 16 bits as a PNG of colour type `kind`, with a chunk sBIT where that is given.

    Args:
        size: width and height that its header claims.
    """

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", *(size or values.shape[1::-1]), 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [chunk(b"IHDR", header), chunk(b"sBIT", bytes(significant)) if significant else b""]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    return path


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """A picture that survives lossy formats and looks different from all eight sides."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 6, y * 10, (x + y) * 3], axis=-1).astype(np.uint8)


def saved(path: Path, image: Image.Image, form: str, **options) -> Path:
    """Save an image in this format, whatever the name of its file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    path.write_bytes(buffer.getvalue())
    return path


def broken_files() -> dict[str, tuple[bytes | None, str]]:
    """Bytes by file name, None for no file, and part of what is said of it."""
    buffer = io.BytesIO()
    Image.fromarray(smooth(200, 200)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "does not decode"),
        "text.jpg": (b"these are words, not a photo", "not an image"),
        "empty.jpg": (b"", "it is empty"),
        "page.png": (b"<html><body>404</body></html>", "<html>"),
        "missing.jpg": (None, "no such file"),
    }

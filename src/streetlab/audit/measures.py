"""Measure one image: content hashes, size, thumbnail, sharpness and brightness."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

from streetlab.audit.phash import perceptual_hashes
from streetlab.datasets.coded_colors import read_coded_colors
from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.files import content_hash
from streetlab.datasets.source import DataSource, Sample
from streetlab.errors import first_line
from streetlab.io.archive import File, ZipMember

MEASURES_VERSION = 4
"""Raised when any number below changes, which makes what is kept stale."""

THUMBNAIL = 64
"""Side of the thumbnails: a 5% crop shifts them by three pixels, and 100,000 of them take 400 MB."""
SHARPNESS_SIDE = 256
"""Sharpness is measured with the shorter side at this many pixels (smaller images stay as they are)."""
NEAR_BLACK = 16
NEAR_WHITE = 240
"""Luma below the one or from the other on counts as near-black or near-white."""


@dataclass(frozen=True)
class Measured:
    """Measurements of one image; all but `sha256` and `format` are None, 0 or empty where it does not decode.

    Attributes:
        sha256: of the file's bytes; None where there is no file or it cannot be read.
        pixels: SHA-256 of the size and the upright RGB pixels.
        phash, mirrored: see `perceptual_hashes`.
        square: the hash of the central square, which a photo shares with what was cut from its sides.
        thumbnail: `THUMBNAIL`² bytes of luma, row by row, the image's sides stretched to it.
        width, height: upright.
        format: what the bytes are, in Pillow's words.
        high_range: `PQ` or `HLG`, the curve of a photo of high dynamic range, whose colours are taken as stored.
        sharpness: variance of the Laplacian of the luma (0-255), as in J. L. Pech-Pacheco et al., "Diatom
            autofocusing in brightfield microscopy: a comparative study", ICPR 2000; see `SHARPNESS_SIDE`.
        brightness: mean luma, from 0 to 1.
        dark_share, bright_share: share of the pixels that are near-black, near-white.
        error: why the image does not decode, in one line.
    """

    sha256: str | None
    pixels: str | None = None
    phash: int = 0
    mirrored: int = 0
    square: int = 0
    thumbnail: bytes = b""
    width: int = 0
    height: int = 0
    format: str | None = None
    high_range: str | None = None
    sharpness: float = 0.0
    brightness: float = 0.0
    dark_share: float = 0.0
    bright_share: float = 0.0
    error: str | None = None


COLUMNS = tuple(field.name for field in fields(Measured))


def measure(source: DataSource, sample: Sample) -> Measured:
    """Read an image in full and measure it; any fault becomes its `error`."""
    digest = form = high_range = None
    try:
        if sample.path is not None:
            digest = content_hash(sample.path)
            form, high_range = _format(sample.path)
        photo = source.read(sample)
        photo.load()
    except Exception as error:  # a file can be broken in ways that no list of exceptions foresees
        return Measured(digest, format=form, error=_reason(error, sample))
    grey = photo.convert("L")
    phash, mirrored = perceptual_hashes(grey)
    counts = np.asarray(grey.histogram(), dtype=np.float64)
    return Measured(
        sha256=digest,
        pixels=hashlib.sha256(f"{photo.width}x{photo.height}:".encode() + photo.tobytes()).hexdigest(),
        phash=phash,
        mirrored=mirrored,
        square=perceptual_hashes(_central_square(grey))[0],
        thumbnail=grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=3.0).tobytes(),
        width=photo.width,
        height=photo.height,
        format=form,
        high_range=high_range,
        sharpness=_sharpness(grey),
        brightness=float(counts @ np.arange(256) / counts.sum() / 255),
        dark_share=float(counts[:NEAR_BLACK].sum() / counts.sum()),
        bright_share=float(counts[NEAR_WHITE:].sum() / counts.sum()),
    )


def _central_square(grey: Image.Image) -> Image.Image:
    side = min(grey.size)
    left, top = (grey.width - side) // 2, (grey.height - side) // 2
    return grey.crop((left, top, left + side, top + side))


def _sharpness(grey: Image.Image) -> float:
    shrunk = SHARPNESS_SIDE / min(grey.size)
    if shrunk < 1:
        size = (round(grey.width * shrunk), round(grey.height * shrunk))
        grey = grey.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    luma = np.asarray(grey, dtype=np.int16)
    if min(luma.shape) < 3:
        return 0.0
    inside = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inside
    return float(laplacian.var(dtype=np.float64))


def _format(file: File) -> tuple[str | None, str | None]:
    """Format of the image by its bytes, and its curve if that is one of high dynamic range; None for unknown."""
    try:
        with Image.open(file.open() if isinstance(file, ZipMember) else file) as opened:
            colors = read_coded_colors(opened, file)
            profiled = "icc_profile" in opened.info
            return opened.format, None if colors is None or profiled else colors.high_range
    except Exception:  # reading the image right after says what is wrong
        return None, None


def _reason(error: Exception, sample: Sample) -> str:
    if isinstance(error, UnreadablePhoto):
        return first_line(str(error).removeprefix(f"{sample.path}: "))
    text = first_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

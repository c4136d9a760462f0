"""Decode photos to upright RGB arrays, whatever the file's name; the one resize that streetlab uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from streetlab.datasets.coded_colors import read_coded_colors
from streetlab.datasets.content import (
    HEAD_BYTES,
    HEIF_SUFFIXES,
    INSTALL_HEIF,
    format_of,
    is_heif,
    is_unread,
    needs_extra,
)
from streetlab.datasets.depth import Depth, raw_mode
from streetlab.datasets.icc import ToSrgb
from streetlab.errors import UserError, first_line
from streetlab.io.archive import File

MOST_PIXELS = 178_956_970
"""Of a photo or mask where the caller allows no more: what Pillow refuses beyond by default."""
# Pillow's limit is a global that all threads share, and warns on the terminal at half of it: ours is asked instead,
# before anything is decoded
Image.MAX_IMAGE_PIXELS = None
_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
_LOSSLESS_IN_TIFF = {1, 2, 3, 4, 5, 8, 32771, 32773, 32809, 32946, 34925, 50000}
"""Values of its tag Compression: none, CCITT, LZW, Deflate, PackBits, ThunderScan, LZMA and Zstandard. JPEG, WebP, JPEG
2000, LERC and the rest may change values, and a file does not say whether they did."""
_COMPRESSION = 259
_COMPRESSIONS = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC",
                 34892: "JPEG", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}  # fmt: skip
_SCALED_BY = {"L;2": 85, "L;4": 17}
"""Pillow stretches greys of 2 and 4 bits to 0-255; 1-bit greys it hands out as they are."""
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations whose pixels lie on their side."""


class UnreadablePhoto(Exception):  # noqa: N818  (what it is, not what went wrong)
    """A file that does not decode; the message names the file and the fault."""


class TooManyPixels(UnreadablePhoto):
    """A photo or mask that is too large to decode; `pixels` is its number of pixels."""

    def __init__(self, message: str, pixels: int) -> None:
        super().__init__(message)
        self.pixels = pixels


def read_photo(path: File, min_side: int | None = None, most_pixels: int | None = None) -> Image.Image:
    """Decode a photo by its bytes (a `.png` may hold JPEG or WebP).

    The orientation that EXIF or the container states is applied, transparency is laid over white, channels of more than
    8 bits are reduced to 8 by what the file says is white, and colours are converted to sRGB by the file's ICC profile,
    or else by the code numbers of a HEIC or AVIF. Of files that hold several pictures the primary one counts.

    Args:
        path: the file.
        min_side: a JPEG may be decoded at a reduced size whose shorter side is no smaller than this, which
            saves time where the photo is shrunk anyway; null decodes every pixel.
        most_pixels: larger photos are refused before they are decoded; null: `MOST_PIXELS`.

    Returns:
        An RGB image.

    Raises:
        UnreadablePhoto: the file is missing, closed to us, truncated, no image, too large to be a photo, in a format
            whose package is not installed, or has more than 8 bits and does not say what is white.
    """
    return read_photo_and_size(path, min_side, most_pixels)[0]


def to_photo(photo: str | Path | np.ndarray | Image.Image) -> Image.Image:
    """Make an upright image of a file or of an array `(H, W, 3)` uint8 RGB; an image keeps its mode.

    Raises:
        UserError: the file does not decode, see `read_photo`; an array of another shape or type.
    """
    if isinstance(photo, Image.Image):
        return ImageOps.exif_transpose(photo) if photo.getexif().get(_ORIENTATION, 1) != 1 else photo
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise UserError(f"a photo is an array (H, W, 3) of uint8, RGB; found {photo.shape} of {photo.dtype}")
        return Image.fromarray(photo)
    if not isinstance(photo, str | Path):
        raise UserError(f"a photo is a path, an array (H, W, 3) of uint8 or an image; found {type(photo).__name__}")
    try:
        return read_photo(Path(photo).expanduser())
    except UnreadablePhoto as error:
        raise UserError(str(error)) from None


def read_photo_and_size(
    path: File, min_side: int | None = None, most_pixels: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """`read_photo`, and the upright photo's whole (width, height), whatever size it was decoded at."""
    with _opened(path, "photo", most_pixels) as opened:
        width, height = opened.size
        depth = Depth(opened, path)  # now: of a PNG, EXIF may stand at the end, for which it is decoded
        if opened.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        if min_side is not None and opened.format == "JPEG":
            opened.draft("RGB", (min_side, min_side))
        to_srgb = ToSrgb(opened.info.get("icc_profile") or _coded_profile(opened, path), opened.mode)
        opened.load()
        for name in ("exif", "Raw profile type exif"):  # has been read; where it is damaged, it can't be written again
            opened.info.pop(name, None)
        photo = ImageOps.exif_transpose(opened)
        if depth.is_deep:
            try:
                photo = depth.reduced(photo, lambda mode: _decoded_as(path, mode))
            except ValueError as error:
                raise UnreadablePhoto(f"{path}: {error}") from None
        return to_srgb(photo if to_srgb.takes_cmyk else _to_rgb(photo)), (width, height)


def _coded_profile(opened: ImageFile.ImageFile, path: File) -> bytes | None:
    colors = read_coded_colors(opened, path)
    return None if colors is None else colors.profile()


def read_mask(path: File) -> np.ndarray:
    """Read a mask's values `(H, W)` uint8 as stored in its file: greys, or indices of its palette.

    Of files of 1 bit, white is 1.

    Raises:
        UnreadablePhoto: as `read_photo`; and where the file holds colours, values above 255, or came through a
            lossy format, which smears one class into another.
    """
    with _opened(path, "mask") as opened:
        _refuse_lossy(opened, path)
        stored = _Stored(opened)
        opened.load()
        mode = opened.mode
        values = np.asarray(opened)
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise UnreadablePhoto(
            f"{path}: {mode} pixels, but a mask holds one class id per pixel (8-bit greyscale or palette PNG)"
        )
    values = stored.values(values)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 255:
        found = f"the value {low if low < 0 else high}"
        raise UnreadablePhoto(f"{path}: {found}, but a mask holds one class id per pixel, 0 to 255 (8-bit PNG)")
    return values.astype(np.uint8)


def _refuse_lossy(opened: ImageFile.ImageFile, path: File) -> None:
    lossy = None
    if opened.format not in _LOSSLESS:
        lossy = str(opened.format)
    elif opened.format == "TIFF":
        compression = getattr(opened, "tag_v2", {}).get(_COMPRESSION, 1)
        if compression not in _LOSSLESS_IN_TIFF:
            lossy = f"{_COMPRESSIONS.get(compression, f'compression {compression}')} inside TIFF"
    if lossy is not None:
        raise UnreadablePhoto(f"{path}: {lossy}, but a mask must come from a lossless format such as PNG")


class _Stored:
    """Undoes what Pillow does to the greys of a file: it stretches those of few bits and turns white-is-0 around."""

    def __init__(self, opened: ImageFile.ImageFile) -> None:
        mode = raw_mode(opened)
        kind, _, how = mode.rpartition(";")
        self._inverted = opened.mode == "L" and "I" in how and kind == "L"
        self._scaled_by = _SCALED_BY.get(mode.rstrip("IR"), 1)
        self._largest = 0
        if opened.tile and opened.tile[0].codec_name in ("ppm", "ppm_plain") and opened.mode != "1":
            arguments = opened.tile[0].args  # of a portable greymap the last is the file's own largest value
            self._largest = int(arguments[-1]) if isinstance(arguments, tuple) else 0

    def values(self, values: np.ndarray) -> np.ndarray:
        if self._inverted:
            values = 255 - values
        if self._scaled_by > 1:
            values = values // np.uint8(self._scaled_by)
        if self._largest:
            most = 255 if self._largest < 256 else 65_535
            values = np.rint(values.astype(np.float64) * self._largest / most).astype(np.int32)
        return values


@contextmanager
def opened_photo(path: File) -> Iterator[ImageFile.ImageFile]:
    """Open a photo for what its file says besides the pixels, of any number.

    Raises:
        UnreadablePhoto: as `read_photo`, also for a fault inside the block.
    """
    with _opened(path, "photo", sys.maxsize) as opened:
        yield opened


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`(H, W)` uint8 at `size` = (height, width): each pixel takes the value under its centre.

    The same as `interpolate(mode="nearest-exact")` of torch, whose float32 arithmetic decides where a centre
    falls between two pixels; plain nearest would shift the truth by up to half an output pixel.
    """
    if mask.shape == size:
        return mask
    rows, columns = (_centres(old, new) for old, new in zip(mask.shape, size, strict=True))
    return mask[rows[:, None], columns]


def _centres(old: int, new: int) -> np.ndarray:
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * (np.float32(old) / np.float32(new))
    return np.minimum(places.astype(np.int64), old - 1)


def resize(photo: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """`(H, W, 3)` uint8 at `size` = (height, width): bilinear with antialiasing, as Pillow does it."""
    height, width = size
    if photo.size != (width, height):
        photo = photo.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(photo)


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if photo.mode == "F":  # Pillow's own conversion would make 0 to 1 black
        raise ValueError("pixels of real numbers, of which no file says what is white")
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _decoded_as(path: File, mode: str) -> Image.Image:
    """The upright image, its pixels unpacked by another of Pillow's raw modes."""
    with Image.open(_source(path)) as opened:
        tiles = []
        for tile in opened.tile:
            tiles.append(tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode))
        opened.tile = tiles
        opened.load()
        return ImageOps.exif_transpose(opened)


@contextmanager
def _opened(path: File, what: str, most_pixels: int | None = None) -> Iterator[ImageFile.ImageFile]:
    """Open the image in a file, not yet decoded; any fault inside the block is an `UnreadablePhoto`."""
    try:
        with Image.open(_source(path)) as opened:
            width, height = opened.size
            most = MOST_PIXELS if most_pixels is None else most_pixels
            if width * height > most:
                line = f"{path}: too large to be a {what}: {width}x{height} are {width * height:,} pixels, allowed are"
                raise TooManyPixels(f"{line} {most:,}", width * height)
            yield opened
    except UnidentifiedImageError:
        head = _head(path)
        if needs_extra(head):
            raise UnreadablePhoto(f"{path}: {format_of(head)}; reading it takes {INSTALL_HEIF}") from None
        if is_unread(head):
            raise UnreadablePhoto(f"{path}: {format_of(head)}, which is not read; djxl converts it to JPEG") from None
        start = f"it begins with {head[:16]!r}" if head else "it is empty"
        raise UnreadablePhoto(f"{path}: not an image ({start})") from None
    except FileNotFoundError:
        raise UnreadablePhoto(f"{path}: no such file") from None
    except PermissionError:
        raise UnreadablePhoto(f"{path}: no permission to read it") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        RuntimeError,
        EOFError,
        LookupError,
    ) as error:  # of damaged files
        raise UnreadablePhoto(f"{path}: does not decode ({first_line(error)})") from None


def _source(path: File) -> Path | IO[bytes]:
    return path if isinstance(path, Path) else path.open()


def _head(path: File) -> bytes:
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        return file.read(HEAD_BYTES)


def _open_heif(file: IO[bytes], name: str | bytes) -> ImageFile.ImageFile:
    """Open a HEIC or HEIF photo for Pillow.

    Raises:
        SyntaxError: another format, which Pillow takes for "try the next reader": AVIF may begin alike.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not is_heif(head) or needs_extra(head):
        raise SyntaxError("not HEIC")
    from pillow_heif import HeifImageFile  # 0.04 s and 10 MB, for those who have such photos

    return HeifImageFile(file, name)


Image.register_open("HEIF", _open_heif, lambda prefix: prefix[4:8] == b"ftyp")
Image.register_extensions("HEIF", sorted(HEIF_SUFFIXES))

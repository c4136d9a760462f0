"""Photo bytes to upright RGB arrays, whatever the file's name says; the one resize that streetlab uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from streetlab.data.archive import File

_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
_SCALED_BY = {"L;2": 85, "L;4": 17}
"""Pillow stretches greys of 2 and 4 bits to 0-255; 1-bit greys it hands out as they are."""
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations whose pixels lie on their side."""


class UnreadablePhoto(Exception):  # noqa: N818  (what it is, not what went wrong)
    """A file that does not decode; the message names the file and what is wrong with it."""


def read_photo(path: File, min_side: int | None = None) -> Image.Image:
    """Decode a photo by its bytes (a `.png` may hold JPEG or WebP).

    EXIF orientation is applied, transparency is laid over white, 16-bit greys are reduced to 8 bits.

    Args:
        path: the file.
        min_side: a JPEG may be decoded at a reduced size whose shorter side is no smaller than this, which
            saves time where the photo is shrunk anyway; null decodes every pixel.

    Returns:
        An RGB image.

    Raises:
        UnreadablePhoto: the file is missing, closed to us, truncated, no image, or too large to be a photo.
    """
    return read_photo_and_size(path, min_side)[0]


def read_photo_and_size(path: File, min_side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """`read_photo`, and the upright photo's whole (width, height), whatever size it was decoded at."""
    with _opened(path, "photo") as opened:
        width, height = opened.size
        if opened.getexif().get(0x0112) in _SIDEWAYS:
            width, height = height, width
        if min_side is not None and opened.format == "JPEG":
            opened.draft("RGB", (min_side, min_side))
        opened.load()
        return _to_rgb(ImageOps.exif_transpose(opened)), (width, height)


def read_mask(path: File) -> np.ndarray:
    """The values `(H, W)` uint8 of a mask as they stand in its file: greys, or places in its palette.

    Raises:
        UnreadablePhoto: as `read_photo`; and where the file holds colours, values above 255, or came through a
            lossy format, which smears one class into another.
    """
    with _opened(path, "mask") as opened:
        if opened.format not in _LOSSLESS:
            raise UnreadablePhoto(f"{path}: {opened.format}, but a mask must come from a lossless format such as PNG")
        scaled_by = _SCALED_BY.get(str(opened.tile[0][3]), 1) if opened.tile else 1
        opened.load()
        mode = opened.mode
        values = np.asarray(opened)
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise UnreadablePhoto(
            f"{path}: {mode} pixels, but a mask holds one class id per pixel (8-bit greyscale or palette PNG)"
        )
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 255:
        found = f"the value {low if low < 0 else high}"
        raise UnreadablePhoto(f"{path}: {found}, but a mask holds one class id per pixel, 0 to 255 (8-bit PNG)")
    return values.astype(np.uint8) // np.uint8(scaled_by)


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
    if photo.mode.startswith("I"):  # greys of more than 8 bits: Pillow's own conversion clips them at 255
        pixels = np.asarray(photo).clip(0, 65535)
        return Image.fromarray((pixels >> (8 if pixels.max(initial=0) > 255 else 0)).astype(np.uint8)).convert("RGB")
    if photo.mode == "F":  # Pillow's own conversion would make 0 to 1 black
        raise ValueError("pixels of real numbers, of which no file says what is white")
    return photo.convert("RGB")


@contextmanager
def _opened(path: File, what: str) -> Iterator[ImageFile.ImageFile]:
    """The image in a file, not yet decoded; whatever goes wrong with it inside the block is an `UnreadablePhoto`."""
    try:
        with Image.open(path if isinstance(path, Path) else path.open()) as opened:
            yield opened
    except UnidentifiedImageError:
        raise UnreadablePhoto(f"{path}: not an image ({_first_bytes(path)})") from None
    except Image.DecompressionBombError as error:
        raise UnreadablePhoto(f"{path}: too large to be a {what} ({error})") from None
    except FileNotFoundError:
        raise UnreadablePhoto(f"{path}: no such file") from None
    except PermissionError:
        raise UnreadablePhoto(f"{path}: no permission to read it") from None
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError) as error:  # damaged files raise any
        raise UnreadablePhoto(f"{path}: does not decode ({error})") from None


def _first_bytes(path: File) -> str:
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        start = file.read(16)
    return f"it begins with {start!r}" if start else "it is empty"

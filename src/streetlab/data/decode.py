"""Photo bytes to upright RGB arrays, whatever the file's name says; the one resize that streetlab uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class UnreadablePhoto(Exception):  # noqa: N818  (what it is, not what went wrong)
    """A file that does not decode; the message names the file and what is wrong with it."""


def read_photo(path: Path, min_side: int | None = None) -> Image.Image:
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
    try:
        with Image.open(path) as opened:
            if min_side is not None and opened.format == "JPEG":
                opened.draft("RGB", (min_side, min_side))
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise UnreadablePhoto(f"{path}: not an image ({_first_bytes(path)})") from None
    except Image.DecompressionBombError as error:
        raise UnreadablePhoto(f"{path}: too large to be a photo ({error})") from None
    except FileNotFoundError:
        raise UnreadablePhoto(f"{path}: no such file") from None
    except PermissionError:
        raise UnreadablePhoto(f"{path}: no permission to read it") from None
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError) as error:  # damaged files raise any
        raise UnreadablePhoto(f"{path}: does not decode ({error})") from None


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
    return photo.convert("RGB")


def _first_bytes(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    return f"it begins with {start!r}" if start else "it is empty"

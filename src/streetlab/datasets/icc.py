"""Convert photos from the colour space of their ICC profile to sRGB, which networks are trained on and screens show."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_SRGB_TOLERANCE = 2
"""Largest difference, in levels of 255, of a profile that counts as sRGB: makers round its curves differently by 1."""
_MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}
"""Colour space of a profile → Pillow's mode of the pixels that it describes."""
_GREYS = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")


class ToSrgb:
    """Conversion of one profile's pixels to sRGB, by the profile's perceptual intent.

    Args:
        profile: the ICC profile as the file holds it; null, a broken one, and sRGB itself change nothing.
        mode: Pillow's mode of the stored pixels. A profile of another colour space than theirs is left out of account,
            as viewers do.
    """

    def __init__(self, profile: bytes | None, mode: str) -> None:
        space, self._transform = _transform(profile) if profile else ("", None)
        stored = "CMYK" if mode == "CMYK" else "L" if mode in _GREYS else "RGB"
        if space != stored:
            self._transform = None
        self.takes_cmyk = self._transform is not None and space == "CMYK"
        self._mode = space

    def __call__(self, photo: Image.Image) -> Image.Image:
        """Convert a photo of mode RGB, or CMYK where `takes_cmyk`; the result is RGB."""
        if self._transform is None:
            return photo
        if photo.mode != self._mode:
            photo = photo.convert(self._mode)
        # never None: it converts into a new image
        return ImageCms.applyTransform(photo, self._transform) or photo


@lru_cache(maxsize=8)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Mode of the pixels that a profile describes, and its transform to sRGB; None where that changes nothing."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space.strip(), "")
        if not mode:
            return "", None
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        return mode, None if _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "", None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    channels = np.meshgrid(*[levels] * 3, indexing="ij") if mode == "RGB" else [levels[:, None]] * 3
    colours = Image.fromarray(np.stack(channels, axis=-1).reshape(18, -1, 3))
    converted = ImageCms.applyTransform(colours.convert(mode), transform) or colours
    return int(np.abs(np.asarray(converted, np.int16) - np.asarray(colours)).max()) <= _SRGB_TOLERANCE

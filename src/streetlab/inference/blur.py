"""Hide people and vehicles: whole silhouettes of a segmentation, pixelated so that they cannot be brought back."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MARGIN = 0.02
"""How far a silhouette is dilated on every side: a share of the picture's longer side. See experiments/blur."""
MEMORY_FRAMES = 12
"""For how many frames of a video a pixel stays hidden, counting the last frame in which it was found."""
_BLOCKS = 12
"""The most blocks across the longer side of a silhouette."""
_SMALLEST_BLOCK = 8
"""The least side of a block in pixels, where the silhouette has so many: small ones would keep their pixels else."""
_NOISE = 12
"""The most that noise changes a block's mean, of 255, up or down."""


def hidden_pixels(ids: NDArray[np.uint8], classes: tuple[int, ...], margin: float = MARGIN) -> NDArray[np.bool_]:
    """(H, W): the pixels of these classes, dilated by a square of `margin` of the longer side in every direction.

    Args:
        ids: (H, W) class ids of a segmentation of the picture.
        classes: the private ones, see `PrivateClasses`.
        margin: 0 to hide the classes' own pixels alone; else at least one pixel is added.
    """
    private = np.zeros(256, np.uint8)
    private[list(classes)] = 1
    reach = math.ceil(margin * max(ids.shape))
    # a square takes two passes of a running maximum whatever its size; it holds the disc of that radius
    return ndimage.maximum_filter(private[ids], 2 * reach + 1, mode="constant") > 0


def pixelate(photo: NDArray[np.uint8], hidden: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Replace hidden pixels by the noisy means of blocks; return a new picture, equal to the photo everywhere else.

    Each connected part (8 neighbours) has blocks of its own: at least a twelfth of its longer side and 8 pixels, so
    that a face within a standing person has one or two. A block's value is the mean over its whole rectangle, hidden
    or not, plus noise of up to ±12 of 255 for each channel: even of a rectangle of which little is hidden, the mean
    does not give that little away.

    The noise must not be rebuilt from the published picture, or it could be taken off again; and a call that is
    killed and repeated must write the same bytes. So it is drawn from the SHA-256 of the photo's own pixels, which
    the published picture does not hold: the hidden ones are gone, and the others have been compressed. Who has the
    photo can repeat the noise, and needs not to. A constant would be known from this file, a clock or the operating
    system's randomness would change with every call, and a secret kept beside the pictures would travel with them.

    Args:
        photo: (H, W, 3) uint8.
        hidden: (H, W), see `hidden_pixels`.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if photo.shape != (*hidden.shape, 3):
        raise ValueError(f"photo {photo.shape} and hidden pixels {hidden.shape} do not fit each other")
    result = photo.copy()
    labels, count = ndimage.label(hidden, np.ones((3, 3)))
    if count == 0:
        return result
    noise = _noise(photo)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        part = labels[box] == label
        result[box][part] = _blocks(photo[box], noise)[part]
    return result


class FrameMemory:
    """Hides in each frame of a video what was private in any of the last `frames` frames, itself among them.

    Without it, a person whom the network misses in one frame would flash up in it. With it, one who is lost for
    `frames` - 1 frames stays hidden where they were last found (dilated by `margin`); one who moves out of that place
    while lost does not. It takes one byte for each pixel, whatever `frames` is.

    Args:
        classes: the private ones.
        frames: k, 1 to 255: the union of the dilated masks of the last k frames is hidden.
        margin: as of `hidden_pixels`.
    """

    def __init__(self, classes: tuple[int, ...], frames: int = MEMORY_FRAMES, margin: float = MARGIN) -> None:
        if not 1 <= frames <= 255:
            raise ValueError(f"frames: found {frames}, allowed 1 to 255")
        self._classes, self._frames, self._margin = classes, frames, margin
        self._left = np.zeros((0, 0), np.uint8)

    def hidden(self, ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(H, W) pixels to hide in the next frame, whose class ids (H, W) these are."""
        if self._left.shape != ids.shape:
            self._left = np.zeros(ids.shape, np.uint8)
        self._left -= self._left > 0
        self._left[hidden_pixels(ids, self._classes, self._margin)] = self._frames
        return self._left > 0


def _blocks(region: NDArray[np.uint8], noise: np.random.Generator) -> NDArray[np.uint8]:
    """(h, w, 3): the region in blocks of one colour each."""
    height, width = region.shape[:2]
    side = max(math.ceil(max(height, width) / _BLOCKS), _SMALLEST_BLOCK)
    rows, columns = _edges(height, side), _edges(width, side)
    sums = np.add.reduceat(np.add.reduceat(region, rows[:-1], axis=0, dtype=np.int64), columns[:-1], axis=1)
    heights, widths = np.diff(rows), np.diff(columns)
    means = sums / (heights[:, None] * widths)[..., None]
    blocks = np.rint(means + noise.integers(-_NOISE, _NOISE, means.shape, endpoint=True)).clip(0, 255).astype(np.uint8)
    return blocks.repeat(heights, axis=0).repeat(widths, axis=1)


def _edges(length: int, side: int) -> NDArray[np.int64]:
    """Where the blocks along a side begin, and its end: as many as fit, none of them shorter than `side`."""
    count = max(1, length // side)
    return np.arange(count + 1) * length // count


def _noise(photo: NDArray[np.uint8]) -> np.random.Generator:
    digest = hashlib.sha256(np.ascontiguousarray(photo).data).digest()
    return np.random.default_rng(int.from_bytes(digest))

"""Augment batches on the device: one random warp and one random colour matrix per image.

Zoom, crop, flip, rotation and shear are one affine map, so pixels are interpolated once; brightness, contrast,
saturation and hue are one 3x4 colour matrix. Masks go through the same map, to the nearest pixel. Against
applying torchvision's transforms image by image in workers this costs a tenth of the time and gives the same
images up to interpolation and intermediate clamps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.errors import UserError, did_you_mean
from streetlab.loading.color import color_matrices, recolor
from streetlab.loading.sampler import mix
from streetlab.loading.transfer import to_device_async
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

_DRAWS = 24
"""Uniform numbers per image and epoch; all are drawn always, so that one setting does not shift another's.

Their places: 0 scale, 1 ratio, 2-3 where the crop lies, 4 flip, 5 rotation, 6 shear, 7 brightness, 8 contrast,
9 saturation, 10 hue, 11 grayscale, 12-16 erase, 17 zoom, 18 the seed of further transforms, 19 of the batch's mix; the
others are free.
"""

_MOST_ZOOM = 4.0

_LIMITS = {
    "flip": (1.0, "a probability (0 to 1)"),
    "rotation": (180.0, "an angle in degrees (0 to 180)"),
    "shear": (60.0, "an angle in degrees (0 to 60)"),
    "brightness": (1.0, "a spread about 1 (0 to 1)"),
    "contrast": (1.0, "a spread about 1 (0 to 1)"),
    "saturation": (1.0, "a spread about 1 (0 to 1)"),
    "hue": (0.5, "a part of a turn (0 to 0.5)"),
    "grayscale": (1.0, "a probability (0 to 1)"),
    "erase": (1.0, "a probability (0 to 1)"),
}


def normalize(images: Tensor) -> Tensor:
    """uint8 `(B, 3, H, W)` to float32 with ImageNet's mean and standard deviation."""
    mean, std = (
        to_device_async(values, images, torch.float32).view(1, 3, 1, 1) * 255
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (images.float() - mean) / std


def draws(keys: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """`(B, 24)` uniform numbers in [0, 1): a function of seed, epoch and each sample's key alone."""
    per_image = mix(mix(keys, seed + 1), epoch + 1)
    counters = np.arange(1, _DRAWS + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        bits = mix(per_image[:, None] + counters[None, :] * np.uint64(0xD1342543DE82EF95), 0)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass
class Augment:
    """Random changes of training images and their masks. The defaults do nothing.

    Attributes:
        scale: share of the image's area that the crop keeps, drawn uniformly.
        zoom: factor by which the image is enlarged before a crop of the output's size, drawn uniformly; it
            multiplies with the enlargement that `scale` brings. Below 1 the image is smaller than the output and
            lies at a random place in it, amid black, ignored pixels; below 0.5 it aliases.
        ratio: width over height of the crop relative to the image's own, drawn uniformly in the logarithm.
        flip: probability of a left-right flip.
        rotation, shear: largest angle either way, degrees.
        brightness, contrast, saturation: factors are drawn from 1 ± this.
        hue: largest turn of the hue either way, in turns (0.5 is the opposite colour).
        grayscale: probability of a grey image.
        erase: probability of one grey box over 2-20% of the image; its pixels are ignored.
        with_masks: the fields that differ where each pixel has a label, with their values there: see `for_masks`.

    Raises:
        UserError: a field is out of range, or `with_masks` names none.
    """

    scale: Sequence[float] = (1.0, 1.0)
    ratio: Sequence[float] = (1.0, 1.0)
    zoom: Sequence[float] = (1.0, 1.0)
    flip: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    erase: float = 0.0
    with_masks: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scale", "ratio", "zoom"):
            bounds = getattr(self, name)
            if not _is_range(bounds):
                raise UserError(f"augment.{name}: {bounds} is not an ascending range above 0, as [0.8, 1.0]")
        if self.scale[1] > 1:
            raise UserError(f"augment.scale: {self.scale[1]} is more than the whole image (1.0)")
        if self.zoom[1] > _MOST_ZOOM:
            raise UserError(f"augment.zoom: {self.zoom[1]} is more than {_MOST_ZOOM:g} times")
        for name, (most, what) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= most:
                raise UserError(f"augment.{name}: {value} is not {what}")
        self.for_masks()  # a fault there shows also where there are no masks

    def for_masks(self) -> Augment:
        """The same with the fields of `with_masks` in place of its own.

        Raises:
            UserError: `with_masks` is no mapping, names no field, or a value is out of range.
        """
        if not isinstance(self.with_masks, Mapping):
            raise UserError(f"augment.with_masks: {self.with_masks} is not a mapping of fields to values")
        if not self.with_masks:
            return self
        known = [one.name for one in fields(self) if one.name != "with_masks"]
        for name in self.with_masks:
            if name not in known:
                near = did_you_mean(str(name), known)
                raise UserError(f"augment.with_masks.{name}: not a field of augment ({', '.join(known)}){near}")
        try:
            return replace(self, **self.with_masks, with_masks={})
        except UserError as error:  # of one of these fields: the others have been checked
            raise UserError(str(error).replace("augment.", "augment.with_masks.", 1)) from None

    @property
    def moves(self) -> bool:
        """True if pixels are interpolated at all."""
        return (
            tuple(self.scale) != (1.0, 1.0)
            or tuple(self.ratio) != (1.0, 1.0)
            or tuple(self.zoom) != (1.0, 1.0)
            or any((self.flip, self.rotation, self.shear))
        )

    @property
    def colors(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.hue, self.grayscale))

    def source_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size to cache images at for crops to `size`: pixels enough for the smallest crop.

        At most 1.4 times as large, and at most twice as large as the smallest zoom shows the image: the warp reads
        four neighbours, and shrinking further would alias.
        """
        factor = max(min(self.zoom[1] / math.sqrt(self.scale[0]), 1.4, 2 * self.zoom[0]), 1.0)
        if factor == 1.0:
            return size
        height, width = (8 * math.ceil(side * factor / 8) for side in size)
        return height, width

    @overload
    def __call__(self, images: Tensor, uniforms: np.ndarray, size: tuple[int, int], masks: None = None) -> Tensor: ...

    @overload
    def __call__(
        self, images: Tensor, uniforms: np.ndarray, size: tuple[int, int], masks: Tensor
    ) -> tuple[Tensor, Tensor]: ...

    def __call__(
        self, images: Tensor, uniforms: np.ndarray, size: tuple[int, int], masks: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Warp, colour and normalise a batch; masks are warped by the same maps.

        Args:
            images: `(B, 3, h, w)` uint8.
            uniforms: `(B, 24)`, see `draws`.
            size: height and width to give out.
            masks: `(B, h, w)` uint8 train ids, 255 = ignored.

        Returns:
            `(B, 3, H, W)` float32, ImageNet-normalised; with masks, also `(B, H, W)` int64 train ids, 255 in the
            erased box and wherever a pixel's centre lies outside the photo.
        """
        if masks is not None and masks.shape != (len(images), *images.shape[-2:]):
            raise ValueError(f"masks {tuple(masks.shape)} for images {tuple(images.shape)}")
        warped = self.moves or tuple(images.shape[-2:]) != tuple(size)
        if not (warped or self.colors or self.erase):
            x = normalize(images)
            return x if masks is None else (x, masks.long())
        u = uniforms
        # the warp reads planes; bytes become floats in the same pass that lays them out so
        x = images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        if warped:
            theta = to_device_async(self.warps(u, size), x)
            grid = F.affine_grid(theta, [len(x), 3, *size], align_corners=False)
            x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            masks = None if masks is None else _warp_masks(masks, grid)
        mean, std = (
            to_device_async(IMAGENET_MEAN, x).view(1, 3, 1, 1),
            to_device_async(IMAGENET_STD, x).view(1, 3, 1, 1),
        )
        if self.colors:
            x = self._recolor(x, u)
        x = x.sub_(mean).div_(std)
        labels = None if masks is None else masks.long()
        if self.erase:
            box = self._boxes(u, size, x)
            x = x.masked_fill_(box[:, None], 0.0)
            labels = None if labels is None else labels.masked_fill_(box, IGNORE_INDEX)
        return x if labels is None else (x, labels)

    def warps(self, u: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """`(B, 2, 3)` float32: maps of normalised output to normalised input coordinates."""
        height, width = size
        area, zoom = _between(self.scale, u[:, 0]), _between(self.zoom, u[:, 17])
        root = np.sqrt(np.exp(_between(np.log(self.ratio), u[:, 1])))
        # the crop's sides as shares of the photo's; above 1 it is the photo that lies at a random place inside
        w = np.minimum(np.sqrt(area) * root, 1.0) / zoom
        h = np.minimum(np.sqrt(area) / root, 1.0) / zoom
        left, top = (1 - w) * (2 * u[:, 2] - 1), (1 - h) * (2 * u[:, 3] - 1)
        sign = np.where(u[:, 4] < self.flip, -1.0, 1.0)
        angle = np.radians(self.rotation) * (2 * u[:, 5] - 1)
        shear = np.tan(np.radians(self.shear) * (2 * u[:, 6] - 1))
        cos, sin = np.cos(angle), np.sin(angle)
        aspect = width / height
        # rotation and shear act on square pixels, about the output's centre, then the flip, then the crop
        a, b = cos + shear * sin, (shear * cos - sin) / aspect
        c, d = sin * aspect, cos
        theta = np.stack(
            [
                np.stack([w * sign * a, w * sign * b, left], axis=-1),
                np.stack([h * c, h * d, top], axis=-1),
            ],
            axis=1,
        )
        return theta.astype(np.float32)

    def _recolor(self, x: Tensor, u: np.ndarray) -> Tensor:
        brightness = 1 + self.brightness * (2 * u[:, 7] - 1)
        contrast = 1 + self.contrast * (2 * u[:, 8] - 1)
        saturation = 1 + self.saturation * (2 * u[:, 9] - 1)
        saturation = np.where(u[:, 11] < self.grayscale, 0.0, saturation)
        turn = 2 * np.pi * self.hue * (2 * u[:, 10] - 1)
        return recolor(x, color_matrices(brightness, saturation, turn), contrast)

    def _boxes(self, u: np.ndarray, size: tuple[int, int], like: Tensor) -> Tensor:
        """`(B, H, W)` bool: the pixels to erase."""
        height, width = size
        area = 0.02 + 0.18 * u[:, 13]
        root = np.sqrt(np.exp(np.log(3.0) * (2 * u[:, 14] - 1)))
        h, w = np.minimum(np.sqrt(area) * root, 1), np.minimum(np.sqrt(area) / root, 1)
        top, left = (1 - h) * u[:, 15], (1 - w) * u[:, 16]
        on = u[:, 12] < self.erase
        rows = (np.arange(height) + 0.5) / height
        columns = (np.arange(width) + 0.5) / width
        inside_rows = (rows >= top[:, None]) & (rows < (top + h)[:, None]) & on[:, None]
        inside_columns = (columns >= left[:, None]) & (columns < (left + w)[:, None])
        rows_on, columns_on = (to_device_async(inside, like, torch.bool) for inside in (inside_rows, inside_columns))
        return rows_on[:, :, None] & columns_on[:, None, :]


def _warp_masks(masks: Tensor, grid: Tensor) -> Tensor:
    """`(B, H, W)` float32 train ids at the grid's `(B, H, W, 2)` places: the nearest pixel's, 255 outside.

    As torch's `nearest-exact`, but for centres midway between two pixels: there it takes either.
    """
    # outside is zero, so that ignored has to be zero for as long; ids up to 255 are exact in float32
    shifted = masks[:, None].float() - IGNORE_INDEX
    return F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] + IGNORE_INDEX


def _is_range(bounds: Sequence[float]) -> bool:
    if isinstance(bounds, str) or not isinstance(bounds, Sequence) or len(bounds) != 2:
        return False
    low, high = bounds
    return isinstance(low, int | float) and isinstance(high, int | float) and 0 < low <= high


def _between(bounds: Sequence[float] | np.ndarray, u: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * u

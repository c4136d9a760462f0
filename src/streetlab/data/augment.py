"""Augmentation in batches, on the device: one warp and one colour matrix per image, from its own draws.

Crop, flip, rotation and shear are one affine map, so pixels are interpolated once; brightness, contrast,
saturation and hue are one 3x4 colour matrix. Against applying torchvision's transforms image by image in
workers this costs a tenth of the time and gives the same images up to interpolation and intermediate clamps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.data.sampler import mix
from streetlab.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
# RGB to YIQ (FCC 1953); a hue shift turns the IQ plane
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_DRAWS = 24
"""Uniform numbers per image and epoch; all are drawn always, so that one setting does not shift another's."""

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
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1) * 255
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
    """What may happen to a training image. The defaults do nothing.

    Attributes:
        scale: share of the image's area that the crop keeps, drawn uniformly.
        ratio: width over height of the crop relative to the image's own, drawn uniformly in the logarithm.
        flip: probability of a left-right flip.
        rotation, shear: largest angle either way, degrees.
        brightness, contrast, saturation: factors are drawn from 1 ± this.
        hue: largest turn of the hue either way, in turns (0.5 is the opposite colour).
        grayscale: probability of a grey image.
        erase: probability of one grey box over 2-20% of the image.
    """

    scale: Sequence[float] = (1.0, 1.0)
    ratio: Sequence[float] = (1.0, 1.0)
    flip: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "ratio"):
            bounds = getattr(self, name)
            if not _is_range(bounds):
                raise UserError(f"augment.{name}: {bounds} is not an ascending range above 0, as [0.8, 1.0]")
        if self.scale[1] > 1:
            raise UserError(f"augment.scale: {self.scale[1]} is more than the whole image (1.0)")
        for name, (most, what) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= most:
                raise UserError(f"augment.{name}: {value} is not {what}")

    @property
    def moves(self) -> bool:
        """Whether pixels are interpolated at all."""
        return (
            tuple(self.scale) != (1.0, 1.0)
            or tuple(self.ratio) != (1.0, 1.0)
            or any((self.flip, self.rotation, self.shear))
        )

    @property
    def colors(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.hue, self.grayscale))

    def source_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size to cache images at for crops to `size`: pixels enough for the smallest crop.

        At most 1.4 times as large: the warp reads four neighbours, and shrinking further would alias.
        """
        factor = min(1 / math.sqrt(self.scale[0]), 1.4)
        if factor == 1.0:
            return size
        height, width = (8 * math.ceil(side * factor / 8) for side in size)
        return height, width

    def __call__(self, images: Tensor, uniforms: np.ndarray, size: tuple[int, int]) -> Tensor:
        """Warp, colour and normalise a batch.

        Args:
            images: `(B, 3, h, w)` uint8.
            uniforms: `(B, 24)`, see `draws`.
            size: height and width to give out.

        Returns:
            `(B, 3, H, W)` float32, ImageNet-normalised.
        """
        if not (self.moves or self.colors or self.erase) and tuple(images.shape[-2:]) == tuple(size):
            return normalize(images)
        u = uniforms
        # the warp reads planes; bytes become floats in the same pass that lays them out so
        x = images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        if self.moves or tuple(images.shape[-2:]) != tuple(size):
            theta = torch.from_numpy(self.warps(u, size)).to(x)
            grid = F.affine_grid(theta, [len(x), 3, *size], align_corners=False)
            x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        mean, std = x.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1), x.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
        if self.colors:
            x = self._recolor(x, u)
        x = x.sub_(mean).div_(std)
        if self.erase:
            x = self._erase(x, u)
        return x

    def warps(self, u: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """`(B, 2, 3)` float32: maps of normalised output to normalised input coordinates."""
        height, width = size
        area = _between(self.scale, u[:, 0])
        root = np.sqrt(np.exp(_between(np.log(self.ratio), u[:, 1])))
        w = np.minimum(np.sqrt(area) * root, 1.0)
        h = np.minimum(np.sqrt(area) / root, 1.0)
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

    def color_matrices(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(B, 3, 3)` colour maps without contrast, and the `(B,)` contrast factors about the mean grey."""
        brightness = 1 + self.brightness * (2 * u[:, 7] - 1)
        contrast = 1 + self.contrast * (2 * u[:, 8] - 1)
        saturation = 1 + self.saturation * (2 * u[:, 9] - 1)
        saturation = np.where(u[:, 11] < self.grayscale, 0.0, saturation)
        turn = 2 * np.pi * self.hue * (2 * u[:, 10] - 1)
        gray, yiq = np.asarray(_GRAY), np.asarray(_YIQ)
        identity = np.eye(3)
        keep, fade = saturation[:, None, None], (1 - saturation)[:, None, None]
        saturate = keep * identity + fade * gray[None, None, :]
        cos, sin, zero, one = np.cos(turn), np.sin(turn), np.zeros_like(turn), np.ones_like(turn)
        rotate = np.stack(
            [
                np.stack([one, zero, zero], -1),
                np.stack([zero, cos, -sin], -1),
                np.stack([zero, sin, cos], -1),
            ],
            axis=1,
        )
        matrix = np.linalg.inv(yiq) @ rotate @ yiq @ saturate * brightness[:, None, None]
        return matrix, contrast

    def _recolor(self, x: Tensor, u: np.ndarray) -> Tensor:
        matrix, contrast = self.color_matrices(u)
        matrices = torch.from_numpy(matrix).to(x)
        factors = torch.from_numpy(contrast).to(x)
        means = torch.einsum("bij,bj->bi", matrices, x.mean(dim=(2, 3)))
        gray = means @ x.new_tensor(_GRAY)
        offset = ((1 - factors) * gray)[:, None, None].expand(-1, 3, 1)
        batch, _, height, width = x.shape
        x = torch.baddbmm(offset, matrices * factors[:, None, None], x.reshape(batch, 3, height * width))
        return x.clamp_(0, 1).view(batch, 3, height, width)

    def _erase(self, x: Tensor, u: np.ndarray) -> Tensor:
        height, width = x.shape[-2:]
        area = 0.02 + 0.18 * u[:, 13]
        root = np.sqrt(np.exp(np.log(3.0) * (2 * u[:, 14] - 1)))
        h, w = np.minimum(np.sqrt(area) * root, 1), np.minimum(np.sqrt(area) / root, 1)
        top, left = (1 - h) * u[:, 15], (1 - w) * u[:, 16]
        on = u[:, 12] < self.erase
        rows = (np.arange(height) + 0.5) / height
        columns = (np.arange(width) + 0.5) / width
        inside_rows = (rows >= top[:, None]) & (rows < (top + h)[:, None]) & on[:, None]
        inside_columns = (columns >= left[:, None]) & (columns < (left + w)[:, None])
        box = (
            torch.from_numpy(inside_rows).to(x.device)[:, None, :, None]
            & torch.from_numpy(inside_columns).to(x.device)[:, None, None, :]
        )
        return x.masked_fill_(box, 0.0)


def _is_range(bounds: Sequence[float]) -> bool:
    if isinstance(bounds, str) or not isinstance(bounds, Sequence) or len(bounds) != 2:
        return False
    low, high = bounds
    return isinstance(low, int | float) and isinstance(high, int | float) and 0 < low <= high


def _between(bounds, u: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * u

"""Change the colours of a batch by one 3x4 matrix per image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streetlab.loading.transfer import to_device_async

_GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
# RGB to YIQ (FCC 1953); a hue shift turns the IQ plane
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def color_matrices(brightness: np.ndarray, saturation: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """`(B, 3, 3)` maps of RGB columns: saturation, then hue, then brightness.

    Args:
        brightness, saturation: `(B,)` factors; a saturation of zero is grey.
        turn: `(B,)` turns of the hue, radians.
    """
    gray, yiq = np.asarray(_GRAY), np.asarray(_YIQ)
    keep, fade = saturation[:, None, None], (1 - saturation)[:, None, None]
    saturate = keep * np.eye(3) + fade * gray[None, None, :]
    cos, sin, zero, one = np.cos(turn), np.sin(turn), np.zeros_like(turn), np.ones_like(turn)
    rotate = np.stack(
        [
            np.stack([one, zero, zero], -1),
            np.stack([zero, cos, -sin], -1),
            np.stack([zero, sin, cos], -1),
        ],
        axis=1,
    )
    return np.linalg.inv(yiq) @ rotate @ yiq @ saturate * brightness[:, None, None]


def recolor(x: Tensor, matrices: np.ndarray, contrast: np.ndarray) -> Tensor:
    """Apply the colour maps, then the contrast factors about each image's mean grey; clamps to [0, 1].

    Args:
        x: `(B, 3, H, W)` float32 in [0, 1], contiguous.
        matrices: `(B, 3, 3)`.
        contrast: `(B,)`.
    """
    maps, factors = to_device_async(matrices, x), to_device_async(contrast, x)
    means = torch.einsum("bij,bj->bi", maps, x.mean(dim=(2, 3)))
    gray = means @ to_device_async(_GRAY, x)
    offset = ((1 - factors) * gray)[:, None, None].expand(-1, 3, 1)
    batch, _, height, width = x.shape
    x = torch.baddbmm(offset, maps * factors[:, None, None], x.reshape(batch, 3, height * width))
    return x.clamp_(0, 1).view(batch, 3, height, width)

"""Mixes of whole training batches: torchvision's MixUp and CutMix, or anything that is called as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.config import instantiate
from streetlab.errors import UserError, first_line

_DRAW = 19
"""The place among the numbers of `augment.draws` that seeds a batch's mix, those of its first image."""


class Mix:
    """One mix of images and labels, under a seed of each batch's own.

    The seed follows from the uniform numbers of the batch's first image, hence from seed, epoch and order alone,
    whatever the number of workers and the place where a run was resumed. The mix draws from torch's generators.

    Args:
        mix: takes images `(B, 3, H, W)` float32 and probabilities `(B, K)` float32, returns both.
        classes: K.

    Raises:
        UserError: it does not take such a batch, or gives one of another size.
    """

    def __init__(self, mix: Callable[[Tensor, Tensor], Any], classes: int) -> None:
        self.mix, self.classes = mix, classes
        kind = type(mix).__name__
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            images, labels = torch.rand(2, 3, 32, 32), torch.eye(2, classes)
            try:
                result = mix(images, labels)
            except Exception as error:
                raise UserError(
                    f"mix: {kind} does not take images (B, 3, H, W) and probabilities (B, {classes}): "
                    f"{first_line(error)}"
                ) from error
        given = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in result]
        if given != [tuple(images.shape), tuple(labels.shape)]:
            raise UserError(f"mix: {kind} gives {' and '.join(map(str, given))}; the sizes have to stay")

    def __call__(self, images: Tensor, labels: Tensor, uniforms: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: `(B, 3, H, W)` float32.
            labels: `(B,)` int64 classes, or `(B, K)` float32 probabilities.
            uniforms: `(B, 24)`, see `augment.draws`.

        Returns:
            the mixed images, and `(B, K)` float32 probabilities.
        """
        if not labels.is_floating_point():
            labels = F.one_hot(labels, self.classes).float()
        with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
            torch.manual_seed(int(uniforms[0, _DRAW] * 2.0**53))
            mixed, probabilities = self.mix(images, labels)
        return mixed, probabilities


def build_mix(node: Mapping[str, Any] | None, classes: int, masks: bool) -> Mix | None:
    """Build the mix of a config's `mix` node; None where there is none.

    Raises:
        UserError: each pixel has a label, or see `Mix`.
    """
    if not node:
        return None
    if masks:
        raise UserError("mix: it mixes the labels of whole photos, and this data set has masks; use mix=null")
    return Mix(instantiate(node), classes)

"""Test-time views of a segmentation network: whole image or sliding window, several scales, mirrored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.errors import UserError

Score = Callable[[Tensor], Tensor]
"""Images `(B, 3, H, W)` to logits `(B, K, H, W)`."""


@dataclass(frozen=True)
class TestTime:
    """Averages class probabilities over views of an image.

    Attributes:
        scales: factors on the image's sides.
        flip: the mirrored image as well.
        window: height and width of the window that slides over the image; None sees it whole.
        overlap: share of the window that neighbouring positions have in common, at least.
    """

    __test__ = False  # to pytest a class of this name looks like tests

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    window: Sequence[int] | None = None
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not self.scales or not all(isinstance(s, int | float) and 0.1 <= s <= 8 for s in self.scales):
            raise UserError(f"task.test_time.scales: {self.scales} is not a list of factors from 0.1 to 8")
        if self.window is not None and (len(self.window) != 2 or min(self.window) < 32):
            raise UserError(f"task.test_time.window: {self.window} is not [height, width] of at least 32 each")
        if not 0 <= self.overlap < 1:
            raise UserError(f"task.test_time.overlap: {self.overlap} is not a share from 0 to below 1")

    @property
    def plain(self) -> bool:
        """Tell whether the only view is the image itself."""
        return tuple(self.scales) == (1.0,) and not self.flip and self.window is None

    def __call__(self, score: Score, images: Tensor) -> Tensor:
        """Log-probabilities `(B, K, H, W)` float32; the network's own logits where there is one view."""
        if self.plain:
            return score(images).float()
        total: Tensor | None = None
        for view, back in self._views(images):
            probabilities = back(self._windowed(score, view))
            total = probabilities if total is None else total + probabilities
        assert total is not None
        return log_probabilities(total)

    def _views(self, images: Tensor) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
        size = images.shape[-2:]
        for scale in self.scales:
            view = rescaled(images, scale)
            yield view, lambda p: _resized(p, size)
            if self.flip:
                yield view.flip(-1), lambda p: _resized(p.flip(-1), size)

    def _windowed(self, score: Score, images: Tensor) -> Tensor:
        """Probabilities `(B, K, H, W)` float32."""
        height, width = images.shape[-2:]
        if self.window is None or (self.window[0] >= height and self.window[1] >= width):
            return score(images).float().softmax(dim=1)
        window = min(self.window[0], height), min(self.window[1], width)
        total: Tensor | None = None
        count = images.new_zeros(1, 1, height, width, dtype=torch.float32)
        for top in window_starts(height, window[0], self.overlap):
            for left in window_starts(width, window[1], self.overlap):
                place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
                probabilities = score(images[place]).float().softmax(dim=1)
                if total is None:
                    total = probabilities.new_zeros(*probabilities.shape[:2], height, width)
                total[place] += probabilities
                count[place] += 1
        assert total is not None
        return total / count


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Evenly spread starts of windows that cover `length` and overlap by at least that share."""
    if window >= length:
        return [0]
    step = max(1, math.floor(window * (1 - overlap)))
    count = math.ceil((length - window) / step) + 1
    return [round(i * (length - window) / (count - 1)) for i in range(count)]


def _resized(probabilities: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(probabilities.shape[-2:]) == tuple(size):
        return probabilities
    return F.interpolate(probabilities, size=tuple(size), mode="bilinear", align_corners=False)


def rescaled(images: Tensor, scale: float) -> Tensor:
    """Images `(B, 3, H, W)` with both sides that many times as long, though no shorter than 32."""
    if scale == 1.0:
        return images
    size = [max(32, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=scale < 1)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """The logarithm of probabilities `(B, K, ...)` that need not sum to 1."""
    normalised = probabilities / probabilities.sum(dim=1, keepdim=True)
    return normalised.clamp_min(torch.finfo(torch.float32).tiny).log()

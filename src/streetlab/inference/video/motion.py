"""Changes between frames: cuts, smoothing of classes over time, and flicker of classes at rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

CUT = 30.0
"""A frame starts a new scene where its grey levels (0-255, averaged over a grid) differ by more on average."""
STILL = 4
"""A point of the grid stands still where its grey level changes by at most this."""
_GRID = 256


@dataclass(frozen=True, eq=False)
class Change:
    """The difference of a frame to the one before.

    Args:
        cut: it starts a new scene; so does the first frame.
        mean: mean absolute difference of grey levels; infinite for the first frame.
        still: (gh, gw) bool, the points of the grid that hardly changed; none in the first frame.
    """

    cut: bool
    mean: float
    still: NDArray[np.bool_]


class Motion:
    """Compares each frame with the one before on a grid of averaged grey.

    Args:
        finest: rows and columns that the grid has at most; never more than 256.
    """

    def __init__(self, finest: tuple[int, int] = (_GRID, _GRID)) -> None:
        self._finest = finest
        self._before: NDArray[np.int16] | None = None

    def step(self, photo: Image.Image) -> Change:
        """The change to this frame from the last."""
        rows, columns = (min(*sides, _GRID) for sides in zip((photo.height, photo.width), self._finest, strict=True))
        grey = photo.convert("L").resize((columns, rows), Image.Resampling.BOX)
        now, before = np.asarray(grey, np.int16), self._before
        self._before = now
        if before is None:
            return Change(True, math.inf, np.zeros(now.shape, np.bool_))
        difference = np.abs(now - before)
        mean = float(difference.mean())
        return Change(mean > CUT, mean, difference <= STILL)


class Smoothing:
    """An exponential moving average of probabilities: p_t = (1 - smooth) p + smooth p_{t-1}, anew from every cut on.

    Args:
        smooth: 0 (none) to below 1.
    """

    def __init__(self, smooth: float) -> None:
        self._smooth = smooth
        self._before: Tensor | None = None

    def __call__(self, probabilities: Tensor, cuts: Sequence[bool]) -> Tensor:
        """(B, K, ...) of B frames in their order, averaged; `cuts` says which of them start a scene."""
        smoothed = []
        for now, cut in zip(probabilities, cuts, strict=True):
            if self._before is not None and not cut:
                now = torch.lerp(now, self._before, self._smooth)
            self._before = now
            smoothed.append(now)
        return torch.stack(smoothed)


class Flicker:
    """The share of points at rest whose class differs from that of the frame before.

    Of segmentations, points of the grid count where the photo stands still; of classifications, whole frames that
    differ from the one before by at most `STILL` on average. Noise of a camera is below that, a moving edge above.
    """

    def __init__(self) -> None:
        self._before: NDArray[np.integer] | None = None
        self._still = self._changed = 0

    def add(self, classes: NDArray[np.integer], change: Change) -> None:
        """The (h, w) class ids of the next frame, of any size, or its one class, ()."""
        if classes.ndim == 0:
            points, still = classes, np.asarray(change.mean <= STILL)
        else:
            points, still = _points(classes, change.still.shape), change.still
        if self._before is not None:
            self._still += int(still.sum())
            self._changed += int((still & (points != self._before)).sum())
        self._before = points

    @property
    def share(self) -> float | None:
        """0 to 1; None where nothing stood still."""
        return self._changed / self._still if self._still else None


def _points(classes: NDArray[np.integer], grid: tuple[int, ...]) -> NDArray[np.integer]:
    """The class at the middle of each cell of the grid."""
    rows, columns = (
        ((np.arange(cells) + 0.5) * side / cells).astype(np.intp)
        for cells, side in zip(grid, classes.shape, strict=True)
    )
    return classes[np.ix_(rows, columns)]

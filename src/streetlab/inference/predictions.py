"""The prediction for one photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Classified:
    """The prediction of a network that gives a photo one label.

    Attributes:
        probabilities: (K,) float32; calibrated where the run has a temperature.
        prediction: the most probable class.
        activations: (N, H, W) float32 at the photo's own size: raw class activation maps, 0 and more, comparable
            among photos and classes of one network; None where they were not asked for.
        activated: the class of each of these N maps.
        unlike_training: the photo is unlike the training photos; None where the model cannot tell.
    """

    probabilities: NDArray[np.float32]
    prediction: int
    activations: NDArray[np.float32] | None = None
    activated: tuple[int, ...] = ()
    unlike_training: bool | None = None


@dataclass(frozen=True, eq=False)
class Segmented:
    """The prediction of a network that gives each pixel a class, at the photo's own size.

    Attributes:
        ids: (H, W) uint8.
        confidence: (H, W) uint8: the class's probability times 255, rounded.
        unlike_training: as of `Classified`.
    """

    ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    unlike_training: bool | None = None


def marked(
    predictions: list[Classified] | list[Segmented], unlike: Sequence[bool]
) -> list[Classified] | list[Segmented]:
    """The predictions, each with its mark."""
    paired: Iterable[tuple[Classified | Segmented, bool]] = zip(predictions, unlike, strict=True)
    return cast("list[Classified] | list[Segmented]", [replace(each, unlike_training=mark) for each, mark in paired])

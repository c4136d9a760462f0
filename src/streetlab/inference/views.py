"""The views of a photo that a network predicts: resized, or a sliding window, at several scales, mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streetlab.errors import UserError, did_you_mean
from streetlab.tasks.test_time import TestTime

MODES = ("resized", "direct", "window")


@dataclass(frozen=True)
class Views:
    """The views of a photo that the network predicts; their probabilities are averaged.

    A classifier always sees the whole photo at its training size, mirrored and at several scales if asked.

    Attributes:
        mode: `resized`: the photo at training size, whose scores are upsampled; `direct`: the photo at its own size;
            `window`: a window that slides over the photo at its own size.
        window: its height and width, at least 32 each; None: the training size.
        overlap: share of the window that neighbouring positions have in common, at least.
        flip: the mirrored photo as well.
        scales: factors on the sides of what is seen.

    Raises:
        UserError: an unknown mode, a number out of range, a window where none slides.
    """

    mode: str = "resized"
    window: Sequence[int] | None = None
    overlap: float = 0.5
    flip: bool = False
    scales: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(
                f"mode: '{self.mode}' is not one of {', '.join(MODES)}{did_you_mean(str(self.mode), MODES)}"
            )
        if not isinstance(self.flip, bool):
            raise UserError(f"flip: '{self.flip}' is not true or false")
        for key in ("window", "scales"):  # tuples, so that equal views are one key of a cache
            value = getattr(self, key)
            if value is not None:
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise UserError(f"{key}: '{value}' is not a list of numbers")
                object.__setattr__(self, key, tuple(value))
        if self.window is not None and not all(type(side) is int for side in self.window):
            raise UserError(f"window: {list(self.window)} is not [height, width] in whole pixels")
        if not isinstance(self.overlap, int | float):
            raise UserError(f"overlap: '{self.overlap}' is not a share from 0 to below 1")
        try:
            TestTime(self.scales, self.flip, self.window, self.overlap)
        except UserError as error:
            raise UserError(str(error).removeprefix("task.test_time.")) from None
        if self.window is not None and self.mode != "window":
            raise UserError(f"window: none slides with mode={self.mode}; mode=window has one")

    @property
    def whole(self) -> TestTime:
        """The averaging over views of a photo that is seen whole."""
        return TestTime(self.scales, self.flip)

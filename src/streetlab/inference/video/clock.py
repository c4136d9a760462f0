"""Time stamps of a written video: the source's, put on its exact frame rate where they were only rounded."""

from __future__ import annotations

import math
from fractions import Fraction

_FINE = Fraction(1, 10_000)
_FINEST = 10_000_000
_FALLBACK = Fraction(1, 90_000)


class Clock:
    """Turns times of a source into those of a file to write.

    A source in steps of at most 1/10,000 s keeps its own, unless they are finer than MP4 counts. Coarser steps (1 ms in
    Matroska) cannot hold a rate such as 30000/1001 exactly: a time that lies within half a step of a whole number of
    frames is put there, any other is kept.

    Args:
        fps: the rate.
        time_base: seconds of a step of the source's times.
    """

    def __init__(self, fps: Fraction, time_base: Fraction) -> None:
        self._fps, self._source = fps, time_base
        self.time_base = time_base
        if time_base > _FINE or time_base.denominator > _FINEST:
            steps = math.lcm(fps.numerator, time_base.denominator)
            self.time_base = Fraction(1, steps) if steps <= _FINEST else _FALLBACK

    def pts(self, source: int) -> int:
        """The time in steps of `time_base`."""
        if self.time_base == self._source:
            return source
        time = source * self._source
        number = round(time * self._fps)
        on_grid = abs(number / self._fps - time) <= self._source / 2
        return round((number / self._fps if on_grid else time) / self.time_base)

    @property
    def frame(self) -> int:
        """The length of a frame at the rate, in steps."""
        return max(1, round(1 / (self._fps * self.time_base)))

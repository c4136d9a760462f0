"""Random numbers that are equal on every machine: PCG64, whole numbers and uniform fractions only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Rgb = tuple[float, float, float]
T = TypeVar("T")


class Rng:
    """One seeded stream; `key` is (stream, seed, ...), so that two uses of a seed never share numbers."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
        self._ahead: list[float] = []

    def fraction(self) -> float:
        """In [0, 1); taken from a block, as a scene asks for some 3000 and single calls are dear."""
        if not self._ahead:
            self._ahead = self._generator.random(512).tolist()
        return self._ahead.pop()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.fraction()

    def integer(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(self.fraction() * count)

    def chance(self, probability: float) -> bool:
        return self.fraction() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(len(options))]

    def fractions(self, *shape: int) -> np.ndarray:
        """float32 in [0, 1)."""
        return self._generator.random(shape, dtype=np.float32)

    def bytes(self, *shape: int) -> np.ndarray:
        """uint8, eight per draw: the cheapest noise there is."""
        count = 1
        for length in shape:
            count *= length
        words = self._generator.integers(0, 2**64, (count + 7) // 8, dtype=np.uint64)
        return words.astype("<u8", copy=False).view(np.uint8)[:count].reshape(shape)

    def gray(self, low: float, high: float, tint: float = 0.06) -> Rgb:
        """A near-neutral colour of the given albedo, each channel off by up to `tint` of it."""
        level = self.between(low, high)
        red, green, blue = (level * self.between(1 - tint, 1 + tint) for _ in range(3))
        return red, green, blue

    def color(self, low: float = 0.03, high: float = 0.7) -> Rgb:
        """Any colour; the square makes saturated ones as likely as pale ones."""
        red, green, blue = (low + (high - low) * self.between(0, 1) ** 2 for _ in range(3))
        return red, green, blue

    def vivid(self) -> Rgb:
        """A saturated colour: one channel strong, one weak, one anything."""
        channels = [self.between(0.35, 0.8), self.between(0.02, 0.12), self.between(0.02, 0.6)]
        first = self.integer(3)
        second = (first + 1 + self.integer(2)) % 3
        return channels[first], channels[second], channels[3 - first - second]

    def near(self, color: Rgb, spread: float = 0.25) -> Rgb:
        """`color` with brightness varied by up to `spread`, its hue by a quarter of that."""
        level = self.between(1 - spread, 1 + spread)
        red, green, blue = (c * level * self.between(1 - spread / 4, 1 + spread / 4) for c in color)
        return red, green, blue

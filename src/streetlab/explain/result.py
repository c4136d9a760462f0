"""The result of an explanation, for either task: gallery cards, numbers, scores and timings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.explain.page import Card


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """Scores and maps of one explanation, for metrics.json and the page.

    Args:
        cards: of the gallery, in its order.
        scale: what the maps were divided by.
        numbers: what was there and what is shown of it.
        scores: by their kind; empty where none were asked for.
        seconds: by part.
        notes: what the page says of the selection.
        pairs: (K, K) counts of the split, the row is the truth; None with masks.
    """

    cards: Sequence[Card]
    scale: float
    numbers: dict[str, Any]
    scores: dict[str, Any]
    seconds: dict[str, float]
    notes: Sequence[str]
    pairs: NDArray[np.int64] | None = None


@contextmanager
def timed(what: str) -> Iterator[dict[str, float]]:
    """A dict that holds, after the block, how many seconds `what` took."""
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    yield seconds
    seconds[what] = round(time.perf_counter() - started, 2)

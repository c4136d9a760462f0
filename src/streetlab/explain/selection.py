"""Select the photos to show: by true and predicted class, or the worst and best segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.metrics.predictions import Predictions, most_wrong

MOST = 300
"""Photos shown where nobody says how many; a page of more is slow to open."""

WRONG_FIELDS = ("id", "true", "predicted", "confidence", "p_true", "group")


@dataclass(frozen=True)
class Pick:
    """A photo that is shown.

    Attributes:
        position: its place in the predictions.
        true, predicted: class ids.
        confidence: the predicted class's probability.
        rank: its place among all photos of its pair, the most confident one being 1.
    """

    position: int
    true: int
    predicted: int
    confidence: float
    rank: int

    @property
    def outcome(self) -> str:
        return "correct" if self.true == self.predicted else "wrong"


def pick_photos(predictions: Predictions, n: int | None, most: int = MOST) -> list[Pick]:
    """`n` photos of each true → predicted pair; wrong ones first, each part from the most confident to the least.

    Of a wrong pair the most confident are taken. Of a right one they are spread evenly from the most to the least
    confident: the surest hits all look alike, and what nearly went wrong tells more.

    Args:
        n: None: as many as there are, or as make `most` photos in all.
    """
    pairs = _pairs(predictions)
    each = _each([len(members) for members in pairs.values()], most) if n is None else n
    picks = []
    for (true, predicted), members in pairs.items():
        ranks = _spread(len(members), each) if true == predicted else range(min(each, len(members)))
        for rank in ranks:
            position = int(members[rank])
            confidence = float(predictions.probabilities[position, predicted])
            picks.append(Pick(position, true, predicted, confidence, int(rank) + 1))
    return sorted(picks, key=lambda pick: (pick.outcome == "correct", -pick.confidence, pick.position))


def count_pairs(predictions: Predictions, picks: Sequence[Pick]) -> list[dict[str, Any]]:
    """For each pair that occurs: `{true, predicted, n, shown}`."""
    shown = [(pick.true, pick.predicted) for pick in picks]
    names = predictions.names
    return [
        {"true": names[true], "predicted": names[predicted], "n": len(members), "shown": shown.count((true, predicted))}
        for (true, predicted), members in _pairs(predictions).items()
    ]


def wrong_rows(predictions: Predictions) -> list[dict[str, Any]]:
    """Every wrong photo, the most confident first, with the columns `WRONG_FIELDS`."""
    rows = []
    for i in most_wrong(predictions, len(predictions)):
        true, predicted = int(predictions.labels[i]), int(predictions.predictions[i])
        rows.append(
            {
                "id": predictions.ids[i],
                "true": predictions.names[true],
                "predicted": predictions.names[predicted],
                "confidence": float(predictions.probabilities[i, predicted]),
                "p_true": float(predictions.probabilities[i, true]),
                "group": predictions.groups[i],
            }
        )
    return rows


def worst_and_best(mious: NDArray[np.float64], n: int) -> list[tuple[int, str, int]]:
    """(position, `worst` or `best`, rank from 1) of the `n` images with the lowest and the `n` with the highest mIoU.

    The worst come first; no image is both, and one without a counted pixel is neither.
    """
    order = np.argsort(mious, kind="stable")
    order = order[~np.isnan(mious[order])]
    low = order[: min(n, (len(order) + 1) // 2)]
    high = order[::-1][: min(n, len(order) - len(low))]
    worst = [(int(position), "worst", rank) for rank, position in enumerate(low, 1)]
    return worst + [(int(position), "best", rank) for rank, position in enumerate(high, 1)]


def sample_positions(count: int, size: int, seed: int) -> list[int]:
    """At most `size` of `count` positions, in order; a larger size adds to the same draw."""
    return sorted(np.random.default_rng(seed).permutation(count)[:size].tolist())


def _pairs(predictions: Predictions) -> dict[tuple[int, int], NDArray[np.int64]]:
    """The positions of each pair that occurs, the most confident first, ties by position."""
    confidence = predictions.probabilities[np.arange(len(predictions)), predictions.predictions]
    order = np.argsort(-confidence, kind="stable")
    true, predicted = predictions.labels[order], predictions.predictions[order]
    occurring = sorted({(int(t), int(p)) for t, p in zip(true, predicted, strict=True)})
    return {(t, p): order[(true == t) & (predicted == p)] for t, p in occurring}


def _each(counts: Sequence[int], most: int) -> int:
    """The largest number such that taking so many of each leaves `most` at most; 1 at the least."""
    each = max(counts, default=1)
    while each > 1 and sum(min(count, each) for count in counts) > most:
        each -= 1
    return each


def _spread(count: int, n: int) -> list[int]:
    """`n` places of 0..count-1, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(n, count)).round().astype(int)).tolist()

"""Which photos are shown: of every kind of error, and of hits more than the easy ones."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.datasets.labels import class_ids
from streetlab.errors import UserError
from streetlab.explain.selection import count_pairs, pick_photos, sample_positions, worst_and_best, wrong_rows
from streetlab.metrics.predictions import Predictions

NAMES = ("Clean", "Medium", "Litter")


def predicted(pairs: list[tuple[int, int, float]]) -> Predictions:
    """Photos of (true, predicted, confidence); the rest of the probability goes to the next class."""
    probabilities = np.zeros((len(pairs), 3))
    for row, (_, label, confidence) in enumerate(pairs):
        probabilities[row, label], probabilities[row, (label + 1) % 3] = confidence, 1 - confidence
    return Predictions(
        ids=[f"{row}.jpg" for row in range(len(pairs))],
        groups=[f"g{row // 2}" for row in range(len(pairs))],
        labels=np.array([true for true, _, _ in pairs]),
        predictions=np.array([label for _, label, _ in pairs]),
        probabilities=probabilities,
        names=NAMES,
    )


FIVE_HITS = [(0, 0, 0.95), (0, 0, 0.6), (0, 0, 0.9), (0, 0, 0.7), (0, 0, 0.8)]
MISSES = [(2, 0, 0.55), (2, 0, 0.99), (2, 0, 0.77), (1, 2, 0.66)]


def test_of_a_wrong_pair_the_most_confident_and_of_a_right_one_the_whole_range():
    picks = pick_photos(predicted(FIVE_HITS + MISSES), 2)
    shown = [(pick.true, pick.predicted, pick.confidence, pick.rank) for pick in picks]
    assert shown == [(2, 0, 0.99, 1), (2, 0, 0.77, 2), (1, 2, 0.66, 1), (0, 0, 0.95, 1), (0, 0, 0.6, 5)]
    assert [pick.confidence for pick in pick_photos(predicted(FIVE_HITS), 3)] == [0.95, 0.8, 0.6]


def test_all_are_shown_until_they_are_too_many_and_then_rare_pairs_stay_whole():
    predictions = predicted(FIVE_HITS + MISSES)
    assert sorted(pick.position for pick in pick_photos(predictions, None)) == list(range(9))
    few = pick_photos(predictions, None, most=7)
    assert count_pairs(predictions, few) == [
        {"true": "Clean", "predicted": "Clean", "n": 5, "shown": 3},
        {"true": "Medium", "predicted": "Litter", "n": 1, "shown": 1},
        {"true": "Litter", "predicted": "Clean", "n": 3, "shown": 3},
    ]
    assert len(pick_photos(predictions, None, most=1)) == 3, "of each pair at least one"


def test_every_wrong_photo_stands_in_the_table_with_what_was_known_of_it():
    rows = wrong_rows(predicted(FIVE_HITS + MISSES))
    assert [row["id"] for row in rows] == ["6.jpg", "7.jpg", "8.jpg", "5.jpg"]
    assert rows[2] == {
        "id": "8.jpg", "true": "Medium", "predicted": "Litter", "confidence": 0.66, "p_true": 0.0, "group": "g4"
    }  # fmt: skip


def test_worst_and_best_images_share_none_and_images_without_pixels_are_neither():
    mious = np.array([0.5, np.nan, 0.1, 0.9, 0.7])
    assert worst_and_best(mious, 1) == [(2, "worst", 1), (3, "best", 1)]
    everything = worst_and_best(mious, 10)
    assert sorted(position for position, _, _ in everything) == [0, 2, 3, 4]
    assert worst_and_best(mious[:1], 3) == [(0, "worst", 1)]


def test_a_larger_sample_keeps_the_smaller_one():
    small, large = sample_positions(100, 10, seed=3), sample_positions(100, 30, seed=3)
    assert len(small) == 10
    assert set(small) < set(large)
    assert small != sample_positions(100, 10, seed=4)
    assert sample_positions(4, 10, seed=0) == [0, 1, 2, 3]


def test_classes_by_name_and_by_id():
    assert class_ids(None, NAMES) is None
    assert class_ids(["litter", 0, "0"], NAMES) == [2, 0]
    assert class_ids("Medium", NAMES) == [1]
    assert class_ids([7], ("a", "7", "c")) == [1], "a class may be called by a number"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (7, r"classes: 7 is not one of 0..2 \(Clean, Medium, Litter\)"),
        ([-1], "classes: -1 is not one of 0..2"),
        (["Liter"], "classes: 'Liter' is not one of Clean, Medium, Litter; did you mean 'Litter'"),
    ],
)
def test_a_class_that_is_not_there_is_one_line(asked, said):
    with pytest.raises(UserError, match=said):
        class_ids(asked, NAMES)

"""Expected precision: Bayes' rule on the tested rates, with an interval that holds, and clear words for bad priors."""

from __future__ import annotations

import numpy as np
import pytest
from omegaconf import OmegaConf

from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS, LabelSpace
from streetlab.errors import UserError
from streetlab.metrics.expected_precision import (
    Prior,
    expected_precision,
    expected_precision_text,
    expected_precision_title,
    read_prior,
)
from streetlab.metrics.predictions import Predictions

ABC = LabelSpace("abc", "classification", ("a", "b", "c"), ((0, 0, 0),) * 3)


def predicted(labels, said, groups=None) -> Predictions:
    n, names = len(labels), CLEANLINESS.names
    return Predictions([str(i) for i in range(n)], groups or [""] * n, labels, said, np.eye(3)[said], names)


def counted(hits: int, missed: int, false: int, rest: int) -> Predictions:
    """Litter photos found and missed, other photos taken for litter and not."""
    labels = np.repeat([2, 2, 0, 1], [hits, missed, false, rest])
    return predicted(labels, np.repeat([2, 0, 2, 1], [hits, missed, false, rest]))


def test_at_the_share_in_the_test_set_it_is_the_test_sets_precision():
    predictions = counted(30, 7, 5, 70)
    found = expected_precision(predictions, Prior("Litter", 37 / 112))
    assert found["precision"] == pytest.approx(30 / 35)
    assert (found["recall"], found["false_positive_rate"]) == pytest.approx((30 / 37, 5 / 75))
    assert (found["n"], found["n_others"]) == (37, 75)


def test_rare_litter_has_the_precision_of_a_street_full_of_clean_photos():
    """The same photos with each that is not litter repeated until litter is 5% of them."""
    photos = counted(30, 7, 5, 70)
    times = np.where(photos.labels == 2, 75, 37 * 19)  # 37 * 75 litter photos and 19 times as many others
    said = np.repeat(photos.predictions, times)
    truth = np.repeat(photos.labels, times)
    assert np.mean(truth == 2) == pytest.approx(0.05)
    found = expected_precision(photos, Prior("Litter", 0.05))
    assert found["precision"] == pytest.approx(np.mean(truth[said == 2] == 2))
    low, high = found["interval"]
    assert low < found["precision"] < high
    assert expected_precision_title(found) == "precision at 5% Litter"
    assert expected_precision_text(found) == f"{found['precision']:.3f} [{low:.3f}, {high:.3f}]"


@pytest.mark.parametrize(("recall", "false_positive_rate"), [(0.85, 0.05), (0.95, 0.02), (0.6, 0.2)])
def test_the_interval_covers_the_true_precision(recall, false_positive_rate):
    random = np.random.default_rng(0)
    true = 0.05 * recall / (0.05 * recall + 0.95 * false_positive_rate)
    covered = 0
    for _ in range(400):
        hits, false = int(random.binomial(37, recall)), int(random.binomial(75, false_positive_rate))
        low, high = expected_precision(counted(hits, 37 - hits, false, 75 - false), Prior("Litter", 0.05))["interval"]
        covered += low <= true <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_no_false_positive_in_few_photos_is_not_certainty():
    found = expected_precision(counted(30, 7, 0, 75), Prior("Litter", 0.05))
    assert found["precision"] == 1.0
    assert found["interval"][0] < 0.6
    assert found["interval"][1] == 1.0


def test_photos_of_one_group_are_one_trial():
    once = counted(30, 7, 5, 70)
    groups = [f"g{i}" for i in range(len(once))] * 2
    twice = predicted(np.tile(once.labels, 2), np.tile(once.predictions, 2), groups)
    alone = predicted(np.tile(once.labels, 2), np.tile(once.predictions, 2))
    prior = Prior("Litter", 0.05)
    assert expected_precision(twice, prior)["interval"] == pytest.approx(expected_precision(once, prior)["interval"])
    assert np.diff(expected_precision(alone, prior)["interval"]) < np.diff(expected_precision(once, prior)["interval"])


def test_a_class_that_is_never_or_wrongly_predicted():
    never = expected_precision(counted(0, 10, 0, 30), Prior("Litter", 0.05))
    assert (never["precision"], never["interval"], never["recall"]) == (None, None, 0.0)
    assert expected_precision_text(never) == "never predicted"
    wrong = expected_precision(counted(0, 10, 4, 30), Prior("Litter", 0.05))
    assert wrong["precision"] == wrong["interval"][0] == 0.0
    assert 0 < wrong["interval"][1] < 0.5


def test_a_split_of_one_kind_of_photo_is_refused():
    for labels, said in (([2, 2], "no other class"), ([0, 1], "no photo of it")):
        with pytest.raises(UserError, match=said):
            expected_precision(predicted(labels, [2, 2]), Prior("Litter", 0.05))


def test_what_a_prior_may_be():
    assert read_prior(None, CITYSCAPES) is None
    assert read_prior(0.05, CLEANLINESS) == Prior("Litter", 0.05)
    assert read_prior({"Clean": 0.7}, CLEANLINESS) == Prior("Clean", 0.7)
    assert read_prior(OmegaConf.create({"b": 0.1}), ABC) == Prior("b", 0.1)


@pytest.mark.parametrize(
    ("asked", "space", "said"),
    [
        (1.5, CLEANLINESS, "prior: 1.5 is no share of Litter; give a number between 0 and 1, such as 0.05"),
        (0, CLEANLINESS, "prior: 0 is no share of Litter"),
        (True, CLEANLINESS, "prior: True is no share"),
        ("often", CLEANLINESS, "prior: 'often' is no share"),
        (float("nan"), CLEANLINESS, "prior: nan is no share"),
        ({"Liter": 0.05}, CLEANLINESS, "prior: no class 'Liter' in cleanliness (Clean, Medium, Litter); did you mean"),
        ({"Clean": 0.6, "Litter": 0.05}, CLEANLINESS, "prior: 2 classes; give the share of one"),
        (0.05, ABC, "prior: the classes of abc have no order, so none is the worst; name one, such as prior={a: 0.05}"),
        (0.05, CITYSCAPES, "prior: cityscapes has one class per pixel"),
    ],
)
def test_a_prior_without_meaning_is_one_line(asked, space, said):
    with pytest.raises(UserError) as caught:
        read_prior(asked, space)
    assert str(caught.value).startswith(said)

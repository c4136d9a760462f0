"""Prediction-powered means equal ppi-python's where both apply, and hold for clusters, strata and a biased model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import ppi_py
import pytest

from streetlab.metrics.statistics.prediction_powered import (
    Graded,
    join_strata,
    prediction_powered_mean,
    sum_up_grades,
)  # fmt: skip
from streetlab.metrics.statistics.survey_sampling import sampling_design, survey_mean


def graded_segments(positions, grade, prediction, weights=None) -> Graded:
    """Segments with one graded photo each."""
    of_all = np.ones(int(max(positions)) + 1)
    if weights is not None:
        of_all[np.asarray(positions)] = weights
    return sum_up_grades(np.asarray(positions), grade, prediction, of_all)


def photos(rng, n, labelled, error=12.0, bias=-8.0):
    """Grades of the first photos, predictions of all: each photo a segment of its own."""
    truth = rng.choice([0.0, 50, 100], n, p=[0.5, 0.3, 0.2])
    return truth[:labelled], truth + bias + error * rng.normal(size=n)


@pytest.mark.parametrize("tuning", [0.0, 0.4, 1.0])
def test_the_mean_and_its_error_are_those_of_ppi_python(tuning):
    grade, prediction = photos(np.random.default_rng(0), 300, 60)
    ours = prediction_powered_mean(
        prediction,
        graded_segments(range(60), grade, prediction[:60]),
        sampling_design(300),
        tuning=tuning * (1 + 60 / 240),
    )
    seen, others = prediction[:60], prediction[60:]
    assert ours.value == pytest.approx(float(ppi_py.ppi_mean_pointestimate(grade, seen, others, lam=tuning)[0]))
    low, high = ppi_py.ppi_mean_ci(grade, seen, others, alpha=0.05, lam=tuning)
    # ppi-python takes variances with the divisor n; ours have n - 1, as a small sample needs
    variance = tuning**2 * others.var() / 240 * 240 / 239 + (grade - tuning * seen).var() / 60 * 60 / 59
    theirs = tuning**2 * others.var() / 240 + (grade - tuning * seen).var() / 60
    assert (high - low)[0] / 2 == pytest.approx(1.959964 * np.sqrt(theirs), rel=1e-6)
    assert ours.standard_error == pytest.approx(np.sqrt(variance))


def test_the_tuning_is_that_of_ppi_python():
    grade, prediction = photos(np.random.default_rng(1), 4000, 800)
    ours = prediction_powered_mean(
        prediction, graded_segments(range(800), grade, prediction[:800]), sampling_design(4000)
    )
    seen, others = prediction[:800], prediction[800:]
    assert ours.value == pytest.approx(float(ppi_py.ppi_mean_pointestimate(grade, seen, others)[0]), abs=0.02)
    low, high = ppi_py.ppi_mean_ci(grade, seen, others, alpha=0.05)
    assert ours.interval() == pytest.approx((low[0], high[0]), abs=0.05)


def test_a_useless_model_leaves_the_human_sample():
    rng = np.random.default_rng(2)
    grade = rng.choice([0.0, 50, 100], 30)
    ours = prediction_powered_mean(
        np.full(90, 40.0), graded_segments(range(30), grade, np.full(30, 40.0)), sampling_design(90)
    )
    human = survey_mean(grade, sampling_design(30))
    assert ours.tuning == 0
    assert ours.value == pytest.approx(human.value)
    assert ours.standard_error == pytest.approx(human.standard_error, rel=0.03)


def test_the_mean_is_right_on_average_over_all_subsamples_whatever_the_bias():
    """Every choice of 3 graded segments of 7, with a fixed λ: exact, not simulated."""
    grade = np.array([0.0, 10, 20, 50, 60, 80, 100])
    prediction = 30 + 0.2 * grade + np.array([5.0, -3, 0, 4, -9, 1, 2])
    design = sampling_design(7)
    values = [
        prediction_powered_mean(
            prediction, graded_segments(chosen, grade[[*chosen]], prediction[[*chosen]]), design, tuning=0.7
        ).value
        for chosen in combinations(range(7), 3)
    ]
    assert np.mean(values) == pytest.approx(grade.mean())


def test_photos_drawn_one_by_one_are_weighted_by_their_segments():
    """Segments with many photos have more of them graded; each segment still counts once."""
    rng = np.random.default_rng(3)
    truth, count = np.tile([10.0, 30, 80, 40], 10), np.tile([1, 2, 20, 4], 10)
    segment = np.repeat(np.arange(40), count)
    values = []
    for _ in range(500):
        positions, graded = np.unique(rng.permutation(segment)[:120], return_counts=True)
        weights = graded / count[positions]
        graded_part = graded_segments(positions, truth[positions], np.zeros(len(positions)), weights)
        values.append(prediction_powered_mean(np.zeros(40), graded_part, sampling_design(40), tuning=0.0).value)
    assert np.mean(values) == pytest.approx(truth.mean(), abs=0.7)  # a ratio: right but for a small sample's bias
    assert truth[segment].mean() > 60  # what the photos' own mean would say


@pytest.mark.parametrize("worlds", [400, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("segments", "graded"), [(120, 12), (120, 60), (40, 12)])
def test_95_percent_of_the_intervals_hold_the_truth_although_the_model_is_biased(segments, graded, worlds):
    """Surveys of a city of 120 segments, two photos each with a grade: within 93 to 97%, and chance."""
    rng = np.random.default_rng(graded + segments)
    truth = 100 * rng.beta(1.2, 2, 120)
    held = []
    for _ in range(worlds):
        seen = rng.permutation(120)[:segments]
        grades = truth[seen, None] + 15 * rng.normal(size=(segments, 2))
        model = 0.6 * grades - 10 + 8 * rng.normal(size=(segments, 1)) + 8 * rng.normal(size=(segments, 2))
        estimate = prediction_powered_mean(
            model.mean(axis=1),
            sum_up_grades(np.repeat(np.arange(graded), 2), grades[:graded].ravel(), model[:graded].ravel()),
            sampling_design(segments, population=[120]),
        )
        low, high = estimate.interval()
        held.append(low <= truth.mean() <= high)
    room = 2.6 * np.sqrt(0.95 * 0.05 / worlds)
    assert 0.93 - room < np.mean(held) < 0.97 + room


def test_strata_with_few_graded_segments_are_joined():
    strata = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert join_strata(strata, np.array([0, 1, 3, 4, 6, 7])).tolist() == strata.tolist()
    assert len(set(join_strata(strata, np.array([0, 1, 3, 6, 7])).tolist())) == 2
    assert set(join_strata(strata, np.array([0, 3])).tolist()) == {0}


def test_strata_count_by_their_population_not_by_how_many_were_graded():
    strata = np.repeat([0, 1], 10)
    truth = np.where(strata == 0, 10.0, 70.0) + np.tile([-2.0, 2], 10)
    graded = [0, 1, 10, 11, 12, 13, 14, 15]
    estimate = prediction_powered_mean(
        truth, graded_segments(graded, truth[graded], truth[graded]), sampling_design(20, None, strata, [90, 30])
    )
    assert estimate.value == pytest.approx(0.75 * 10 + 0.25 * 70)


def test_one_graded_segment_says_nothing():
    with pytest.raises(ValueError, match="1 graded"):
        prediction_powered_mean(np.zeros(5), graded_segments([0], [50.0], [40.0]), sampling_design(5))

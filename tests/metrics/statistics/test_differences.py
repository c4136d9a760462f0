"""A difference knows how sure it is: one distribution gives interval, p-value and what could be shown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streetlab.metrics.statistics.differences import Difference, paired_difference


def _drawn(runs, spread, seed=0, draws=4000):
    """(runs, draws): what the photos do to all alike, and a part of each run's own."""
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=draws) + 0.5 * spread * rng.normal(size=(runs, draws))


@pytest.mark.parametrize("df", [2.3, 8, 109])
def test_p_is_below_5_percent_exactly_where_the_interval_leaves_zero_out(df):
    for value in np.linspace(-0.12, 0.12, 49):
        difference = Difference(value, 0.02, df)
        low, high = difference.interval()
        assert (difference.p_value < 0.05) == (low > 0 or high < 0)


def test_interval_and_p_are_those_of_students_t():
    difference = Difference(0.05, 0.02, 7.5)
    assert difference.interval() == pytest.approx(stats.t.interval(0.95, 7.5, 0.05, 0.02), abs=1e-12)
    assert difference.p_value == pytest.approx(2 * stats.t.sf(2.5, 7.5), abs=1e-12)


@pytest.mark.parametrize("df", [12, 109, 1e6])
def test_the_smallest_difference_is_found_in_four_of_five_cases(df):
    error = 0.02
    smallest = Difference(0.0, error, df).smallest
    power = stats.nct.sf(stats.t.ppf(0.975, df), df, smallest / error)
    assert power == pytest.approx(0.8, abs=0.01)
    if df == 1e6:
        assert smallest == pytest.approx((1.959964 + 0.841621) * error, abs=1e-5)


def test_equivalent_needs_both_one_sided_tests():
    assert Difference(0.005, 0.005, 1000).equivalent(0.02)
    assert not Difference(0.015, 0.005, 1000).equivalent(0.02)
    assert not Difference(-0.015, 0.005, 1000).equivalent(0.02)


def test_one_run_a_side_has_the_error_of_the_paired_draws():
    first = _drawn(1, 0.03)
    second = first - 0.01 + 0.005 * np.random.default_rng(1).normal(size=first.shape)
    found = paired_difference(([0.8], [0.79]), (first, second), clusters=112, df=109)
    assert found.value == pytest.approx(0.01)
    assert found.standard_error == pytest.approx(np.std(first - second, ddof=1), rel=1e-12)
    assert found.df == 109  # what both sides share, the photos, cancels
    assert found.standard_error < 0.2 * np.std(first, ddof=1)


@pytest.mark.parametrize("runs", [(1, 5), (5, 1)])
def test_a_lone_run_on_one_side_leaves_the_photos_only(runs):
    first, second = _drawn(runs[0], 0.03), _drawn(runs[1], 0.03, seed=1)
    scores = [np.linspace(0.6, 0.9, n) for n in runs]
    found = paired_difference((scores[0], scores[1]), (first, second), clusters=112, df=109)
    assert found.standard_error == pytest.approx(np.std(first.mean(axis=0) - second.mean(axis=0), ddof=1), rel=1e-12)


def test_seeds_far_apart_give_welchs_test():
    scores = ([0.60, 0.75, 0.90], [0.50, 0.52, 0.58, 0.61])
    same = np.tile(_drawn(1, 1e-6), (3, 1)), np.tile(_drawn(1, 1e-6), (4, 1))
    found = paired_difference(scores, same, clusters=112, df=109)
    welch = stats.ttest_ind(*scores, equal_var=False)
    assert found.p_value == pytest.approx(welch.pvalue, rel=1e-6)
    assert found.df == pytest.approx(welch.df, rel=1e-6)


def test_the_photos_count_once_beside_the_seeds():
    rng = np.random.default_rng(0)
    shared = 0.03 * rng.normal(size=(2, 200_000))
    own = 0.02 * rng.normal(size=(2, 3, 200_000))
    drawn = shared[:, None] + own
    scores = np.array([0.7, 0.72, 0.77])
    found = paired_difference((scores, scores), (drawn[0], drawn[1]), clusters=112, df=109)
    # the two sides' photos have nothing in common here, and own disagreements are the seeds' business
    expected = 2 * 0.03**2 + 2 * scores.var(ddof=1) / 3
    assert found.standard_error**2 == pytest.approx(expected, rel=0.02)


def test_more_seeds_never_make_the_photos_sure():
    drawn = np.full((40, 1), 0.0) + _drawn(1, 0.03), np.full((40, 1), 0.0) + _drawn(1, 0.03, seed=1)
    scores = np.full(40, 0.8)
    found = paired_difference((scores, scores - 0.01), drawn, clusters=112, df=109)
    assert found.standard_error == pytest.approx(np.hypot(0.03, 0.03) * np.hypot(1, 0.5), rel=0.05)
    assert found.p_value > 0.5


@pytest.mark.parametrize("runs", [1, 3])
def test_runs_that_agree_on_every_photo_are_equivalent_only_where_the_photos_are_many(runs):
    drawn = np.tile(_drawn(1, 0.03), (runs, 1))
    scores = [0.8] * runs
    few, many = (paired_difference((scores, scores), (drawn, drawn), n, n - 3) for n in (112, 400))
    assert few.value == 0
    assert few.p_value == 1
    assert not few.equivalent(0.02)
    assert many.equivalent(0.02)

"""Intervals are those of SciPy and statsmodels, and stay honest at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from streetlab.metrics.statistics import wilson_interval
from streetlab.metrics.statistics.intervals import score_interval, student_interval


@pytest.mark.parametrize("confidence", [0.90, 0.95])
@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (101, 114), (1, 3), (7, 20_000)])
def test_wilson_equals_scipy_and_statsmodels(hits, n, confidence):
    found = wilson_interval(hits, n, confidence)
    scipy = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    assert found == pytest.approx((scipy.low, scipy.high), abs=1e-9)
    assert found == pytest.approx(proportion_confint(hits, n, 1 - confidence, method="wilson"), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 10), (11, 10)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(ValueError, match=f"{hits} hits of {n} trials"):
        wilson_interval(hits, n)


def test_the_interval_over_seeds_equals_scipy():
    values = [0.81, 0.84, 0.79, 0.88, 0.83]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert student_interval(values) == pytest.approx(expected, abs=1e-12)


def test_fewer_than_five_seeds_or_a_diverged_one_give_no_interval():
    assert student_interval([0.8, 0.9, 0.7, 0.8]) is None
    assert student_interval([0.8, 0.9, 0.7, 0.8, float("nan")]) is None


def test_a_score_interval_stays_inside_0_and_1_and_leans_away_from_the_edge():
    low, high = score_interval(0.98, 0.02, clusters=112, df=109)
    assert 0 < low < 0.98 < high < 1
    assert 0.98 - low > high - 0.98


def test_a_score_interval_is_the_plain_one_where_the_error_is_small():
    expected = stats.t.interval(0.95, 109, loc=0.6, scale=0.001)
    assert score_interval(0.6, 0.001, clusters=112, df=109) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_score_without_variance_is_still_uncertain(score):
    found = score_interval(score, 0.0, clusters=60, df=57)
    assert found == pytest.approx(wilson_interval(round(score * 60), 60))
    assert found[1] - found[0] > 0.05

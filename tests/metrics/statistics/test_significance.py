"""McNemar's tests and Holm's correction are those of SciPy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from streetlab.metrics.statistics.significance import holm, mcnemar_exact, mcnemar_mid_p

COUNTS = [(0, 0), (0, 1), (5, 0), (3, 9), (9, 3), (8, 8), (7, 8), (40, 61), (1, 300)]


@pytest.mark.parametrize(("first", "second"), COUNTS)
def test_exact_mcnemar_equals_statsmodels_and_scipy(first, second):
    found = mcnemar_exact(first, second)
    assert found == pytest.approx(mcnemar([[50, first], [second, 20]], exact=True).pvalue, abs=1e-9)
    if first + second:
        assert found == pytest.approx(stats.binomtest(first, first + second).pvalue, abs=1e-9)


@pytest.mark.parametrize(("first", "second"), COUNTS[1:])
def test_mid_p_counts_outcomes_as_likely_as_the_observed_half(first, second):
    pmf = stats.binom.pmf(np.arange(first + second + 1), first + second, 0.5)
    as_likely = np.isclose(pmf, pmf[first], rtol=1e-9, atol=0)
    expected = pmf[~as_likely & (pmf < pmf[first])].sum() + pmf[as_likely].sum() / 2
    assert mcnemar_mid_p(first, second) == pytest.approx(expected, abs=1e-9)


def test_runs_that_agree_on_every_photo_are_not_told_apart():
    assert mcnemar_exact(0, 0) == mcnemar_mid_p(0, 0) == 1.0


@pytest.mark.parametrize(
    "p", [[0.04], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.001], [0.9, 0.8, 0.7], [0.02, 0.02, 0.02]]
)
def test_holm_equals_statsmodels_in_the_order_given(p):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)


def test_holm_of_nothing_is_nothing():
    assert len(holm([])) == 0


def test_no_true_difference_is_rejected_at_the_level_that_each_test_promises():
    # every outcome of 112 photos of which one in five tells the runs apart, so that no seed decides
    discordant = np.arange(113)
    exact = mid = 0.0
    for total, chance in zip(discordant, stats.binom.pmf(discordant, 112, 0.2), strict=True):
        if chance < 1e-12:
            continue
        for first, share in enumerate(stats.binom.pmf(np.arange(total + 1), total, 0.5)):
            exact += chance * share * (mcnemar_exact(first, total - first) < 0.05)
            mid += chance * share * (mcnemar_mid_p(first, total - first) < 0.05)
    assert 0.01 < exact <= 0.05
    assert 0.03 < mid < 0.07
    assert exact < mid

"""Means over segments equal a textbook's, statsmodels' and samplics' numbers, and are unbiased over all samples."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from streetlab.metrics.statistics.survey_sampling import (
    Design,
    sampling_design,
    segment_means,
    spread_within,
    survey_mean,
    survey_means,
)

SEVERITY = np.array([12.0, 40, 55, 8, 71, 30, 66, 90, 20, 45])
LENGTH = np.array([120.0, 80, 210, 60, 95, 300, 150, 75, 110, 240])
STRATUM = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])


def of_mean_and_variance(n: int, mean: float, variance: float) -> np.ndarray:
    values = stats.norm.ppf((np.arange(n) + 0.5) / n)
    return mean + np.sqrt(variance) * (values - values.mean()) / values.std(ddof=1)


def test_the_mean_of_a_stratified_sample_is_the_textbooks():
    """Lohr 2010, Sampling: Design and Analysis, example 3.2: acres of farms, 300 of 3,078 counties in four regions."""
    regions = [
        (220, 21, 97_629.8, 7_647_472_708),
        (1054, 103, 300_504.2, 29_618_183_543),
        (1382, 135, 211_315.0, 53_587_487_856),
        (422, 41, 662_295.5, 396_185_950_266),
    ]
    acres = np.concatenate([of_mean_and_variance(*row[1:]) for row in regions])
    strata = np.repeat(range(4), [row[1] for row in regions])
    estimate = survey_mean(acres, sampling_design(300, None, strata, [row[0] for row in regions]))
    assert estimate.value * 3078 == pytest.approx(909_736_034, rel=1e-6)
    assert estimate.standard_error * 3078 == pytest.approx(50_417_248, rel=1e-6)
    assert estimate.df == 296


def test_a_mean_by_length_is_that_of_samplics():
    """Samplics 0.6.1, TaylorEstimator(ratio) of the same ten segments, 4 of 20 and 6 of 48."""
    estimate = survey_mean(SEVERITY, sampling_design(10, LENGTH, STRATUM, [20, 48]))
    assert estimate.value == pytest.approx(44.16518298714144, rel=1e-12)
    assert estimate.standard_error == pytest.approx(6.350536128772203, rel=1e-12)
    assert estimate.df == 8


def test_a_mean_by_length_of_one_stratum_is_that_of_statsmodels():
    robust = sm.WLS(SEVERITY, np.ones(10), weights=LENGTH).fit(cov_type="HC1", use_t=True)
    estimate = survey_mean(SEVERITY, sampling_design(10, LENGTH))
    assert estimate.value == pytest.approx(robust.params[0])
    assert estimate.standard_error == pytest.approx(robust.bse[0])
    assert estimate.interval() == pytest.approx(robust.conf_int()[0])


def test_equal_segments_without_a_population_have_students_interval():
    estimate = survey_mean(SEVERITY, sampling_design(10))
    assert estimate.interval() == pytest.approx(
        stats.t.interval(0.95, 9, SEVERITY.mean(), stats.sem(SEVERITY)), abs=1e-12
    )


def test_mean_and_variance_are_right_on_average_over_all_samples():
    """Every sample of 3 of 5 and 2 of 4 segments: exact, not simulated."""
    population, strata = SEVERITY[:9], np.array([0] * 5 + [1] * 4)
    samples = [
        survey_mean(population[[*one, *two]], sampling_design(5, None, strata[[*one, *two]], [5, 4]))
        for one in combinations(range(5), 3)
        for two in combinations(range(5, 9), 2)
    ]
    values = np.array([sample.value for sample in samples])
    assert values.mean() == pytest.approx(population.mean())
    assert np.mean([sample.standard_error**2 for sample in samples]) == pytest.approx(values.var())


def test_where_every_segment_was_seen_the_photos_alone_are_uncertain():
    seen = sampling_design(10, None, None, [10])
    assert survey_mean(SEVERITY, seen).standard_error == pytest.approx(0, abs=1e-12)
    photos = np.arange(1, 11)
    of_photos = survey_mean(SEVERITY, seen, photos, 400.0)
    assert of_photos.standard_error == pytest.approx(np.sqrt((400 / photos).sum()) / 10)


def test_photos_of_a_sample_of_segments_are_right_on_average():
    """Cochran's two stages: the variance of simulated surveys, 12 of 30 segments with 1 to 6 photos each."""
    rng = np.random.default_rng(0)
    truth, photos = 20 + 10 * rng.normal(size=30), 1 + np.arange(30) % 6
    errors, variances = [], []
    for _ in range(1500):
        drawn = rng.permutation(30)[:12]
        segment = np.repeat(np.arange(12), photos[drawn])
        values = (truth[drawn][segment] + 15 * rng.normal(size=len(segment)))[:, None]
        spread = spread_within(values, segment)
        assert spread is not None
        design = sampling_design(12, population=[30])
        estimate = survey_mean(segment_means(values, segment)[:, 0], design, photos[drawn], spread[0, 0])
        errors.append(estimate.value - truth.mean())
        variances.append(estimate.standard_error**2)
    assert np.mean(variances) == pytest.approx(np.var(errors), rel=0.1)


def test_a_stratum_of_one_segment_does_not_seem_certain():
    strata = np.array([0, 0, 0, 1])
    alone = survey_mean([10.0, 11, 12, 90], sampling_design(4, None, strata))
    assert alone.standard_error > 10
    assert np.isnan(survey_mean([10.0], sampling_design(1)).interval()).all()


def test_several_columns_are_several_means_with_their_covariance():
    both, covariance = survey_means(np.stack([SEVERITY, 100 - SEVERITY], axis=1), sampling_design(10, LENGTH, STRATUM))
    one = survey_mean(SEVERITY, sampling_design(10, LENGTH, STRATUM))
    assert both == pytest.approx([one.value, 100 - one.value])
    assert covariance == pytest.approx(one.standard_error**2 * np.array([[1, -1], [-1, 1]]))


def test_the_spread_within_segments_is_that_of_an_analysis_of_variance():
    segments = np.array([0, 0, 1, 1, 1, 2])
    values = np.array([10.0, 30, 5, 5, 20, 99])
    residual = sm.OLS(values, np.eye(3)[segments]).fit().mse_resid
    spread = spread_within(values[:, None], segments)
    assert spread is not None
    assert spread[0, 0] == pytest.approx(residual)
    assert spread_within(values[:3, None], np.arange(3)) is None


@pytest.mark.parametrize(
    "wrong",
    [{"sizes": [1.0, 0]}, {"sizes": [1.0]}, {"population": [1]}, {"strata": [0, 2], "population": [5, 5, 5]}],
)
def test_a_design_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="sampling_design"):
        sampling_design(2, **wrong)


def test_a_design_without_a_fraction_keeps_its_weights():
    design = sampling_design(10, LENGTH, STRATUM, [20, 48])
    assert isinstance(design.without_fraction(), Design)
    assert design.without_fraction().weights == pytest.approx(design.weights)
    assert not design.without_fraction().fraction.any()

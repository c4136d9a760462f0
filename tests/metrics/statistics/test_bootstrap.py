"""Resampled test sets keep classes and duplicates as they were drawn, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streetlab.metrics.statistics.bootstrap import (
    bootstrap_scores,
    bootstrap_weights,
    cluster_photos,
    degrees_of_freedom,
    strata_of,
)
from streetlab.metrics.statistics.scores import accuracy, macro_f1, photo_counts


def _weights(strata, draws=4000, seed=0, chunk=None):
    return np.concatenate(list(bootstrap_weights(np.asarray(strata), draws, seed, chunk)))


def test_photos_of_one_name_are_one_cluster_and_those_without_stand_alone():
    assert cluster_photos(["a", "", "b", "a", "", "b", "c"]).tolist() == [0, 1, 2, 0, 3, 2, 4]


def test_a_cluster_with_several_labels_belongs_to_the_class_of_most_of_its_photos():
    clusters = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    labels = [1, 0, 1, 2, 0, 1, 0, 0]
    assert strata_of(clusters, labels).tolist() == [1, 0, 1, 0, 0]  # a tie goes to the first class


def test_a_class_of_one_cluster_is_resampled_with_the_next_smallest_class():
    clusters = np.arange(8)
    strata = strata_of(clusters, [5, 0, 0, 0, 0, 2, 2, 2])
    assert strata.tolist() == [1, 0, 0, 0, 0, 1, 1, 1]
    assert degrees_of_freedom(strata) == 6
    assert strata_of(np.arange(3), [0, 1, 2]).tolist() == [0, 0, 0]


def test_every_draw_has_as_many_photos_of_each_class_as_the_test_set():
    strata = np.repeat([0, 1, 2], [5, 9, 2])
    weights = _weights(strata, 500)
    for stratum, size in enumerate([5, 9, 2]):
        np.testing.assert_allclose(weights[:, strata == stratum].sum(axis=1), size, atol=1e-12)


def test_the_variance_over_draws_is_the_unbiased_one_of_a_stratified_sum():
    rng = np.random.default_rng(3)
    strata, values = np.repeat([0, 1, 2], [3, 8, 20]), rng.normal(size=31)
    drawn = _weights(strata, 40_000) @ values
    expected = sum(n * values[strata == s].var(ddof=1) for s, n in enumerate([3, 8, 20]))
    assert drawn.var() == pytest.approx(expected, rel=0.04)  # the plain bootstrap is 18% below
    assert drawn.mean() == pytest.approx(values.sum(), abs=0.1)


def test_the_same_seed_gives_the_same_test_sets_whatever_is_held_at_a_time():
    strata = np.repeat([0, 1], [7, 6])
    np.testing.assert_array_equal(_weights(strata, 101, seed=4, chunk=7), _weights(strata, 101, seed=4))
    assert not np.array_equal(_weights(strata, 101, seed=5), _weights(strata, 101, seed=4))


def test_all_runs_are_scored_on_the_same_test_sets():
    rng = np.random.default_rng(0)
    labels, strata = rng.integers(0, 3, 40), np.zeros(40, dtype=np.int64)
    run = photo_counts(labels, rng.integers(0, 3, 40), 3)
    drawn = bootstrap_scores([run, run], strata, macro_f1, 50, seed=0)
    assert drawn.shape == (2, 50)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[:1], bootstrap_scores([run], strata, macro_f1, 50, seed=0))


@pytest.mark.parametrize("score", [accuracy, macro_f1])
def test_without_duplicates_and_classes_the_error_equals_scipys_bootstrap(score):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 112)
    predictions = np.where(rng.random(112) < 0.8, labels, (labels + 1) % 3)
    counts = photo_counts(labels, predictions, 3)

    def statistic(photos, axis=-1):
        return score(counts[photos.astype(int)].sum(axis=-3))

    scipy = stats.bootstrap((np.arange(112),), statistic, n_resamples=4000, method="percentile", rng=2)
    drawn = bootstrap_scores([counts], np.zeros(112, dtype=np.int64), score, 4000, seed=0)[0]
    assert np.std(drawn, ddof=1) == pytest.approx(scipy.standard_error, rel=0.06)
    interval = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(interval, scipy.confidence_interval, atol=0.012)

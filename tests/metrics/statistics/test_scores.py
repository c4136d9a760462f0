"""Scores of resampled test sets are the records' own numbers wherever nothing is resampled."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.datasets.labels import CAMVID
from streetlab.metrics.classification import confusion_counts, summarize_confusion
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.metrics.statistics.scores import accuracy, image_counts, macro_f1, miou, photo_counts, sum_by_cluster


@pytest.mark.parametrize("seed", range(5))
def test_classification_scores_equal_the_records_also_where_classes_are_absent(seed):
    rng = np.random.default_rng(seed)
    k, present = 6, rng.choice(6, size=2 + seed % 3, replace=False)
    labels = rng.choice(present, 50)
    predictions = np.where(rng.random(50) < 0.7, labels, rng.integers(0, k, 50) if seed else labels)
    expected = summarize_confusion(confusion_counts(labels, predictions, k), tuple("abcdef"))
    counts = photo_counts(labels, predictions, k)
    assert counts.shape == (50, k, 3)
    assert float(macro_f1(counts.sum(axis=0))) == pytest.approx(expected["macro_f1"], abs=1e-12)
    assert float(accuracy(counts.sum(axis=0))) == pytest.approx(expected["accuracy"], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_segmentation_scores_equal_the_records_also_where_classes_are_absent(seed):
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 10**6, (7, 11, 11)) * (rng.random((11, 11)) < 0.6)
    matrices[:, seed] = matrices[:, :, seed] = 0
    expected = summarize_segmentation(matrices.sum(axis=0), CAMVID, 7)
    counts = image_counts(matrices).sum(axis=0)
    assert float(miou(counts)) == pytest.approx(expected["miou"], abs=1e-12)
    assert float(accuracy(counts)) == pytest.approx(expected["pixel_accuracy"], abs=1e-12)


def test_many_test_sets_are_scored_at_once():
    rng = np.random.default_rng(0)
    counts = image_counts(rng.integers(0, 50, (3, 4, 5, 5)))
    for score in (accuracy, macro_f1, miou):
        each = [[float(score(one)) for one in row] for row in counts]
        np.testing.assert_allclose(score(counts), each, atol=1e-12)


def test_clusters_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    counts = photo_counts(rng.integers(0, 3, 20), rng.integers(0, 3, 20), 3)
    clusters = np.arange(20) // 3
    summed = sum_by_cluster(counts, clusters)
    assert summed.shape == (7, 3, 3)
    np.testing.assert_array_equal(summed[2], counts[6:9].sum(axis=0))
    np.testing.assert_array_equal(summed.sum(axis=0), counts.sum(axis=0))


def test_nothing_counted_is_no_score():
    assert np.isnan(miou(np.zeros((4, 3))))
    assert np.isnan(accuracy(np.zeros((4, 3))))

"""Compute scores of many test sets at once from three counts per class: hits, predicted and true.

The counts of photos add up to those of a test set, weighted ones to those of a resampled test set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(..., K, 3) counts to (...) scores."""


def photo_counts(labels: ArrayLike, predictions: ArrayLike, k: int) -> NDArray[np.float64]:
    """(N, K, 3) counts of N photos with one label each."""
    true, predicted = np.eye(k)[np.asarray(labels)], np.eye(k)[np.asarray(predictions)]
    return np.stack([true * predicted, predicted, true], axis=-1)


def image_counts(matrices: ArrayLike) -> NDArray[np.float64]:
    """(N, K, 3) pixel counts from (N, K, K) confusion matrices whose row is the truth."""
    stack = np.asarray(matrices, dtype=np.float64)
    hits = np.diagonal(stack, axis1=-2, axis2=-1)
    return np.stack([hits, stack.sum(axis=-2), stack.sum(axis=-1)], axis=-1)


def sum_by_cluster(counts: NDArray[np.float64], clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """(G, K, 3) from (N, K, 3) and each photo's cluster, 0..G-1."""
    summed = np.zeros((int(clusters.max()) + 1, *counts.shape[1:]))
    np.add.at(summed, clusters, counts)
    return summed


def accuracy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of photos, or of pixels, that are right."""
    return _ratio(counts[..., 0].sum(axis=-1), counts[..., 2].sum(axis=-1))


def macro_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur in truth or predictions.

    This is what scikit-learn's `f1_score(average="macro")` does.
    """
    hits, predicted, true = np.moveaxis(counts, -1, 0)
    return _mean_of_present(2 * hits, predicted + true)


def miou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU of the classes that occur in truth or predictions."""
    hits, predicted, true = np.moveaxis(counts, -1, 0)
    return _mean_of_present(hits, predicted + true - hits)


def mean_recall(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall of the classes that occur in truth: the mean accuracy of Long et al. 2015."""
    hits, _, true = np.moveaxis(counts, -1, 0)
    return _mean_of_present(hits, true)


def frequency_weighted_iou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU weighted by the truth's share of pixels (Long et al. 2015)."""
    hits, predicted, true = np.moveaxis(counts, -1, 0)
    union = predicted + true - hits
    iou = np.divide(hits, union, out=np.zeros_like(hits), where=union > 0)
    return _ratio((true * iou).sum(axis=-1), true.sum(axis=-1))


def _mean_of_present(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    present = bottom > 0
    each = np.divide(top, bottom, out=np.zeros_like(top), where=present)
    return _ratio(each.sum(axis=-1), present.sum(axis=-1))


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom > 0)

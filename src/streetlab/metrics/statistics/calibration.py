"""Calibration of a classifier: temperature, calibration error, Brier score, reliability curve.

All functions take probabilities (N, K), N ≥ 1, each row a softmax output that sums to 1, and labels (N,), each
0..K-1; other shapes and labels raise a ValueError. Confidence is the probability of the predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import softmax

from streetlab.metrics.statistics.intervals import wilson_interval

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.1, 10.0
"""Where all photos are right, or right no more often than by chance, the likelihood grows without end."""
_SMALLEST = float(np.finfo(np.float32).tiny)
"""Stands for a probability of 0, which float32 rounds a smaller one to; its logarithm is -87."""
_FLAT = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """B bins of about equally many photos, in the order of their confidence.

    Attributes:
        confidence, accuracy: (B,) means over the photos of a bin.
        count: (B,) its photos.
        interval: (B, 2) Wilson's 95% interval of its accuracy, as if photos were independent.
    """

    confidence: Floats
    accuracy: Floats
    count: NDArray[np.int64]
    interval: Floats


def fit_temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T under which softmax(log(p) / T) gives the labels the least negative log-likelihood.

    Guo et al. 2017 (arXiv:1706.04599); the logarithm of a softmax output is its logits but for a constant. The
    loss is convex in 1/T, so its one minimum is where its derivative changes sign: found to 1e-12, without a
    starting value. Where it lies outside 0.1..10, T is the nearer end. Above 1 the classifier was too sure.
    """
    p, y = _checked(probabilities, labels)
    logits = np.log(np.maximum(p, _SMALLEST))
    own = logits[np.arange(len(y)), y]

    def slope(log_temperature: float) -> float:
        """Derivative by 1/T: the mean logit that the softmax expects, less the label's own."""
        weights = softmax(logits * np.exp(-log_temperature), axis=1)
        return float(((weights * logits).sum(axis=1) - own).mean())

    low, high = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
    at_low, at_high = slope(low), slope(high)
    if max(abs(at_low), abs(at_high)) < _FLAT:  # uniform probabilities: every temperature gives the same
        return 1.0
    if at_low <= 0:
        return LOWEST_TEMPERATURE
    if at_high >= 0:
        return HIGHEST_TEMPERATURE
    return float(np.exp(brentq(slope, low, high, xtol=1e-12)))


def apply_temperature(probabilities: ArrayLike, temperature: float) -> Floats:
    """(N, K) probabilities softmax(log(p) / T); the order of the classes, and so the prediction, stays.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"apply_temperature: temperature {temperature}, expected a number above 0")
    p = np.asarray(probabilities, dtype=np.float64)
    return softmax(np.log(np.maximum(p, _SMALLEST)) / temperature, axis=1)


def adaptive_ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the predicted class over bins of equal mass (Nixon et al. 2019, arXiv:1904.01685).

    The mean over photos of |accuracy - mean confidence| of their bin, 0 to 1. Photos of equal confidence share a
    bin, so the order of the photos cannot matter.

    The estimate is biased upwards: chance alone moves a bin's accuracy, the more the fewer photos it holds. With 112
    photos in 15 bins a perfectly calibrated classifier shows about 0.1; `adaptive_ece_by_chance` tells how much.
    """
    confidence, right = _top_label(probabilities, labels)
    return _ece(confidence, right, _equal_mass(confidence, bins))


def adaptive_ece_by_chance(probabilities: ArrayLike, bins: int = 15, draws: int = 200, seed: int = 0) -> float:
    """The mean `adaptive_ece` of a perfectly calibrated classifier that is as sure of as many photos.

    Each draw makes every photo right with the probability of its confidence. An error near this number is no sign
    of miscalibration (Bröcker and Smith 2007, Weather and Forecasting 22: consistency resampling).
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    binned, generator = _equal_mass(confidence, bins), np.random.default_rng(seed)
    return float(np.mean([_ece(confidence, generator.random(len(binned)) < confidence, binned) for _ in range(draws)]))


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean over photos of the squared error summed over classes (Brier 1950, Monthly Weather Review 78), 0 to 2.

    Uniform probabilities score 1 - 1/K. With two classes it is twice scikit-learn's score of one of them.
    """
    p, y = _checked(probabilities, labels)
    return float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean())


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean over photos of -log of the label's probability, at most 87.3 where that is 0."""
    p, y = _checked(probabilities, labels)
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], _SMALLEST)).mean())


def reliability_curve(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> ReliabilityCurve:
    """Accuracy over confidence of the predicted class, in the bins of `adaptive_ece`; empty ones are left out."""
    confidence, right = _top_label(probabilities, labels)
    _, binned = np.unique(_equal_mass(confidence, bins), return_inverse=True)
    count = np.bincount(binned)
    hits = np.bincount(binned, weights=right)
    return ReliabilityCurve(
        confidence=np.bincount(binned, weights=confidence) / count,
        accuracy=hits / count,
        count=count,
        interval=np.array([wilson_interval(hit, int(n)) for hit, n in zip(hits, count, strict=True)]),
    )


def _equal_mass(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """(N,) bin of each photo, 0..bins-1: where the middle of its ties stands among all photos."""
    _, inverse, ties = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - ties / 2
    return (middle * bins / len(confidence)).astype(np.int64)[inverse]


def _ece(confidence: Floats, right: NDArray[np.bool_], binned: NDArray[np.int64]) -> float:
    return float(np.abs(np.bincount(binned, weights=right - confidence)).sum() / len(binned))


def _top_label(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """(N,) probability of the predicted class, and whether it is the label."""
    p, y = _checked(probabilities, labels)
    return p.max(axis=1), p.argmax(axis=1) == y


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if p.ndim != 2 or not p.size or y.shape != p.shape[:1]:
        raise ValueError(f"calibration: probabilities {p.shape} and labels {y.shape}, expected (N, K) and (N,), N ≥ 1")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"calibration: labels {y.min()}..{y.max()}, allowed 0..{p.shape[1] - 1}")
    return p, y

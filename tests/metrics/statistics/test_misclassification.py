"""Corrected class shares equal closed forms, and hold the truth in simulated surveys with a known confusion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from streetlab.metrics.statistics.misclassification import CorrectedShares, rogan_gladen, shifted_priors
from streetlab.metrics.statistics.survey_sampling import sampling_design

RATES = np.array([[0.85, 0.13, 0.02], [0.15, 0.70, 0.15], [0.02, 0.18, 0.80]])
TRUTH = np.array([0.55, 0.30, 0.15])
SEVERITY = np.array([0.0, 50, 100])


def test_two_classes_are_corrected_by_the_formula_of_rogan_and_gladen():
    sensitivity, specificity, positive = 0.9, 0.8, 0.41
    confusion = np.array([[80, 20], [10, 90]])
    variance = 0.41 * 0.59 / 500
    corrected = rogan_gladen([1 - positive, positive], variance * np.array([[1, -1], [-1, 1]]), 499, confusion)
    assert corrected.shares[1] == pytest.approx((positive + specificity - 1) / (sensitivity + specificity - 1))
    true = corrected.shares[1]
    smooth = (90.5 / 101, 80.5 / 101)
    from_test = true**2 * smooth[0] * (1 - smooth[0]) / 100 + (1 - true) ** 2 * smooth[1] * (1 - smooth[1]) / 100
    assert corrected.covariance[1, 1] == pytest.approx((variance + from_test) / 0.7**2)


def test_the_predicted_shares_of_a_known_confusion_give_the_true_ones_back():
    corrected = rogan_gladen(TRUTH @ RATES, np.zeros((3, 3)), 100, RATES * 1000)
    assert corrected.shares == pytest.approx(TRUTH)


def test_shares_outside_the_simplex_come_to_its_nearest_point():
    covariance = 0.01 * np.array([[1.0, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]])
    corrected = rogan_gladen([0.95, 0.04, 0.01], covariance, 50, RATES * 200)
    assert corrected.unconstrained.min() < 0
    assert corrected.shares.min() >= 0
    assert corrected.shares.sum() == pytest.approx(1)
    metric = np.linalg.pinv(corrected.covariance)
    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 201) for b in np.linspace(0, 1 - a, 201)]
    apart = np.array(grid) - corrected.unconstrained
    assert corrected.shares == pytest.approx(grid[np.einsum("ni,ij,nj->n", apart, metric, apart).argmin()], abs=0.01)
    value, low, high = corrected.mean(SEVERITY)
    assert 0 <= low <= value <= high <= 100


@pytest.mark.parametrize("worlds", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_95_percent_of_the_corrected_intervals_hold_the_truth(worlds):
    """112 test photos and a survey of 400: both are uncertain, and the naive mean is wrong."""
    rng = np.random.default_rng(0)
    held, naive, survey_alone = [], [], []
    for _ in range(worlds):
        confusion = np.stack([rng.multinomial(n, row) for n, row in zip([38, 37, 37], RATES, strict=True)])
        q = rng.multinomial(400, TRUTH @ RATES) / 400
        covariance = (np.diag(q) - np.outer(q, q)) / 399
        _, low, high = rogan_gladen(q, covariance, 399, confusion).mean(SEVERITY)
        held.append(low <= TRUTH @ SEVERITY <= high)
        _, low, high = CorrectedShares(q, q, covariance, 399).mean(SEVERITY)
        naive.append(low <= TRUTH @ SEVERITY <= high)
        _, low, high = rogan_gladen(q, covariance, 399, confusion * 10**6).mean(SEVERITY)
        survey_alone.append(low <= TRUTH @ SEVERITY <= high)
    room = 2.6 * np.sqrt(0.95 * 0.05 / worlds)
    assert 0.93 - room < np.mean(held) < 0.97 + room
    assert np.mean(naive) < 0.90
    assert np.mean(survey_alone) < 0.90


def mixture(rng, shares, n, k=3):
    """Photos of k known densities, and their exact probabilities under equal priors."""
    label = rng.choice(k, n, p=shares)
    position = label + 0.7 * rng.normal(size=n)
    density = np.exp(-0.5 * ((position[:, None] - np.arange(k)) / 0.7) ** 2)
    return density / density.sum(axis=1, keepdims=True)


def test_shifted_priors_are_the_maximum_of_the_likelihood():
    probabilities = mixture(np.random.default_rng(1), TRUTH, 800)
    prior = np.array([0.4, 0.35, 0.25])
    tilted = probabilities * prior
    tilted /= tilted.sum(axis=1, keepdims=True)
    segments = np.arange(800)
    corrected = shifted_priors(tilted, prior, segments, np.ones(800), sampling_design(800))

    def loss(x):
        shares = np.array([x[0], x[1], 1 - x[0] - x[1]])
        return -np.log((probabilities * shares).sum(axis=1)).mean()

    best = minimize(loss, [0.3, 0.3], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    assert corrected.shares[:2] == pytest.approx(best, abs=1e-4)
    assert corrected.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("worlds", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_95_percent_of_the_shifted_intervals_hold_the_truth(worlds):
    """80 segments of 5 photos, of which each segment has shares of its own."""
    rng = np.random.default_rng(2)
    segments, design = np.repeat(np.arange(80), 5), sampling_design(80)
    held, independent = [], []
    for _ in range(worlds):
        shares = rng.dirichlet(2 * TRUTH, 80)
        probabilities = np.concatenate([mixture(rng, row, 5) for row in shares])
        corrected = shifted_priors(probabilities, np.ones(3) / 3, segments, np.ones(400), design)
        _, low, high = corrected.mean(SEVERITY)
        held.append(low <= TRUTH @ SEVERITY <= high)
        alone = shifted_priors(probabilities, np.ones(3) / 3, np.arange(400), np.ones(400), sampling_design(400))
        _, low, high = alone.mean(SEVERITY)
        independent.append(low <= TRUTH @ SEVERITY <= high)
    room = 2.6 * np.sqrt(0.95 * 0.05 / worlds)
    assert 0.93 - room < np.mean(held) < 0.97 + room
    assert np.mean(independent) < np.mean(held)


def test_a_classifier_that_cannot_tell_classes_apart_is_not_inverted():
    with pytest.raises(ValueError, match="apart"):
        rogan_gladen(TRUTH, np.zeros((3, 3)), 10, np.full((3, 3), 30))
    with pytest.raises(ValueError, match="no test photo"):
        rogan_gladen(TRUTH, np.zeros((3, 3)), 10, np.diag([5, 5, 0]))
    with pytest.raises(ValueError, match="prior"):
        shifted_priors(RATES, [0.5, 0.5, 0], np.arange(3), np.ones(3), sampling_design(3))

"""Calibration: zero where a classifier is as sure as it is right, the true value where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.classification import MulticlassCalibrationError

from streetlab.metrics.classification import calibration_numbers
from streetlab.metrics.statistics.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    adaptive_ece,
    adaptive_ece_by_chance,
    apply_temperature,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability_curve,
)


def calibrated(n: int, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of n photos, and labels that were drawn with just these probabilities."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(k, 0.6), n)
    return probabilities, (probabilities.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)


def with_confidence(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-class predictions of class 0 with the given confidences, right or wrong as told."""
    return np.stack([confidence, 1 - confidence], axis=1), np.where(right, 0, 1)


def test_perfect_calibration_has_no_error_but_that_of_chance():
    assert adaptive_ece(*calibrated(200_000)) < 0.005
    probabilities, _ = calibrated(112)
    found = []
    for seed in range(200):
        drawn = np.random.default_rng(seed).random((112, 1))
        found.append(adaptive_ece(probabilities, (probabilities.cumsum(axis=1) > drawn).argmax(axis=1)))
    assert 0.05 < np.mean(found) < 0.15
    assert adaptive_ece_by_chance(probabilities) == pytest.approx(np.mean(found), abs=0.008)


def test_known_miscalibration_has_its_true_value():
    confidence = np.repeat([0.6, 0.7, 0.8, 0.95], 1000)
    right = np.concatenate([np.arange(1000) < hits for hits in (500, 700, 650, 900)])
    exact = (0.1 + 0 + 0.15 + 0.05) / 4
    assert adaptive_ece(*with_confidence(confidence, right)) == pytest.approx(exact, abs=1e-12)
    # twice as sure as it should be: the expected error is that between what it says and what is so
    truth, labels = calibrated(200_000)
    said = apply_temperature(truth, 0.5)
    expected = np.abs(said.max(axis=1) - truth[np.arange(len(truth)), said.argmax(axis=1)]).mean()
    assert adaptive_ece(said, labels, bins=15) == pytest.approx(expected, abs=0.004)


def test_with_bins_that_agree_the_error_is_that_of_torchmetrics():
    """Confidences evenly spread over 0.5 to 1 fill bins of equal mass and of equal width alike."""
    random = np.random.default_rng(0)
    confidence = 0.5 + (np.arange(1000) + 0.5) / 2000
    right = random.random(1000) < confidence**2
    probabilities, labels = with_confidence(confidence, right)
    theirs = MulticlassCalibrationError(2, n_bins=20, norm="l1")(torch.tensor(probabilities), torch.tensor(labels))
    assert adaptive_ece(probabilities, labels, bins=10) == pytest.approx(float(theirs), abs=1e-6)


def test_the_order_of_photos_with_equal_confidence_does_not_matter():
    random = np.random.default_rng(1)
    probabilities, labels = with_confidence(random.choice([0.6, 0.9, 0.99], 400), random.random(400) < 0.7)
    order = random.permutation(400)
    assert adaptive_ece(probabilities, labels) == pytest.approx(adaptive_ece(probabilities[order], labels[order]))
    assert reliability_curve(probabilities, labels).confidence == pytest.approx([0.6, 0.9, 0.99])


@pytest.mark.parametrize("k", [2, 3, 7])
def test_scores_equal_scikit_learn(k):
    probabilities, labels = calibrated(300, k)
    assert brier_score(probabilities, labels) == pytest.approx(
        brier_score_loss(labels, probabilities, labels=range(k), scale_by_half=False)
    )
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(
        log_loss(labels, probabilities, labels=range(k))
    )


def test_the_temperature_has_the_least_loss_of_a_grid_and_of_lbfgs():
    probabilities, labels = calibrated(400, seed=3)
    said = apply_temperature(probabilities, 0.4)
    temperature = fit_temperature(said, labels)
    least = negative_log_likelihood(apply_temperature(said, temperature), labels)
    for other in np.geomspace(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, 200):
        assert least <= negative_log_likelihood(apply_temperature(said, other), labels) + 1e-12

    logits, truth = torch.tensor(said).log(), torch.tensor(labels)
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([log_temperature], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-15)

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), truth)
        value.backward()
        return value

    search.step(loss)
    assert temperature == pytest.approx(log_temperature.exp().item(), abs=1e-5)


def test_a_network_that_was_twice_as_sure_gets_temperature_two():
    probabilities, labels = calibrated(50_000, seed=4)
    said = apply_temperature(probabilities, 0.5)
    assert fit_temperature(said, labels) == pytest.approx(2, rel=0.02)
    assert apply_temperature(apply_temperature(probabilities, 0.5), 2) == pytest.approx(probabilities, abs=1e-9)
    numbers = calibration_numbers(said, labels) | calibration_numbers(apply_temperature(said, 2), labels, "_calibrated")
    for name in ("ece", "brier", "nll"):
        assert numbers[f"{name}_calibrated"] < numbers[name]
    assert numbers["ece"] > 10 * numbers["ece_by_chance"]
    assert numbers["ece_calibrated"] < 2 * numbers["ece_by_chance_calibrated"]


def test_val_photos_that_tell_no_temperature_give_an_end_of_the_range():
    sure = np.array([[0.7, 0.3], [0.2, 0.8]])
    assert fit_temperature(sure, [0, 1]) == LOWEST_TEMPERATURE
    assert fit_temperature(sure, [1, 0]) == HIGHEST_TEMPERATURE
    assert fit_temperature(np.full((5, 3), 1 / 3), [0, 1, 2, 0, 1]) == 1.0


def test_probabilities_that_float32_rounds_to_zero_give_finite_numbers():
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    labels = [0, 1, 1]
    temperature = fit_temperature(probabilities, labels)
    numbers = calibration_numbers(apply_temperature(probabilities, temperature), labels)
    assert np.isfinite([temperature, *numbers.values()]).all()
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(87.34 / 3, abs=0.01)


def test_the_curve_holds_every_photo_once_with_wilsons_interval():
    probabilities, labels = calibrated(107)
    curve = reliability_curve(probabilities, labels, bins=10)
    assert curve.count.sum() == 107
    assert set(curve.count) <= {10, 11}
    assert (np.diff(curve.confidence) > 0).all()
    gaps = np.abs(curve.accuracy - curve.confidence) @ curve.count / 107
    assert gaps == pytest.approx(adaptive_ece(probabilities, labels, bins=10))
    hits = round(curve.accuracy[3] * curve.count[3])
    expected = binomtest(hits, int(curve.count[3])).proportion_ci(method="wilson")
    assert curve.interval[3] == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [([[0.5, 0.5]], [2]), ([[0.5, 0.5]], [0, 1]), (np.zeros((0, 2)), []), ([0.5, 0.5], [0, 1])],
)
def test_arrays_that_do_not_fit_are_refused(probabilities, labels):
    with pytest.raises(ValueError, match="calibration: "):
        adaptive_ece(probabilities, labels)
    with pytest.raises(ValueError, match="calibration: "):
        fit_temperature(probabilities, labels)


def test_a_temperature_that_is_none_is_refused():
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="expected a number above 0"):
            apply_temperature([[0.5, 0.5]], temperature)

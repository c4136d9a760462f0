"""The temperature of the reported split comes from val, never from the photos that it is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streetlab.datasets.labels import CLEANLINESS
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.expected_precision import Prior
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.statistics.calibration import adaptive_ece, apply_temperature, fit_temperature
from streetlab.training.report_classification import ClassificationReport


def too_sure(factor: float, seed: int) -> Predictions:
    """Photos whose labels follow the probabilities of a network `factor` times less sure."""
    random = np.random.default_rng(seed)
    truth = random.dirichlet(np.full(3, 0.6), 300)
    labels = (truth.cumsum(axis=1) > random.random((300, 1))).argmax(axis=1)
    said = apply_temperature(truth, 1 / factor)
    ids = [str(i) for i in range(300)]
    return Predictions(ids, ids, labels, said.argmax(axis=1), said, CLEANLINESS.names)


VAL, TEST = too_sure(2, 0), too_sure(3, 1)
OF_VAL = fit_temperature(VAL.probabilities, VAL.labels)


def concluded(by_split: dict[str, Predictions], shown: str, temperature: float | None = None) -> dict[str, Any]:
    report = ClassificationReport(None, None, None, None)
    report.by_split = by_split
    numbers = {split: summarize_classification(part, CLEANLINESS) for split, part in by_split.items()}
    report.conclude(numbers, shown, temperature, Prior("Litter", 0.05))
    return numbers


def test_val_gives_the_temperature_and_test_is_measured_under_it():
    numbers = concluded({"val": VAL, "test": TEST}, "test", temperature=7.0)
    found = numbers["test"]
    assert (found["temperature"], found["temperature_from"]) == (OF_VAL, "val")
    assert pytest.approx(fit_temperature(TEST.probabilities, TEST.labels), rel=0.1) != OF_VAL
    calibrated = apply_temperature(TEST.probabilities, OF_VAL)
    assert found["ece_calibrated"] == adaptive_ece(calibrated, TEST.labels) < found["ece"]
    assert not {"temperature", "ece_calibrated", "expected_precision"} & numbers["val"].keys()


def test_without_val_the_runs_own_serves_and_without_that_none():
    found = concluded({"test": TEST}, "test", temperature=2.5)["test"]
    assert (found["temperature"], found["temperature_from"]) == (2.5, "the run's val")
    assert "temperature" not in concluded({"test": TEST}, "test")["test"]


def test_val_is_not_measured_under_a_temperature_that_it_gave():
    assert "temperature" not in concluded({"val": VAL}, "val", temperature=2.5)["val"]


def test_the_terminal_shows_what_there_is_of_each_split():
    numbers = concluded({"val": VAL, "test": TEST}, "test")
    for part in numbers.values():
        part["loss"] = 0.5
    val, test = (ClassificationReport.terminal_texts(numbers[split]) for split in ("val", "test"))
    assert val["Clean ↔ Litter errors"] == f"{numbers['val']['far_errors']} ({numbers['val']['far_error_share']:.1%})"
    assert val["ECE"] == f"{numbers['val']['ece']:.4f}"
    assert test["ECE"] == f"{numbers['test']['ece']:.4f} → {numbers['test']['ece_calibrated']:.4f}"
    assert test.keys() - val.keys() == {"precision at 5% Litter"}
    assert "accuracy ceiling" not in test
    numbers["test"]["accuracy_ceiling"] = 0.98
    assert ClassificationReport.terminal_texts(numbers["test"])["accuracy ceiling"] == "0.9800"

"""Our numbers are scikit-learn's; the ceiling is that of a classifier which knows all but the noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from streetlab.datasets.labels import CLEANLINESS, LabelSpace
from streetlab.errors import UserError
from streetlab.metrics.classification import (
    accuracy_ceiling,
    calibration_numbers,
    classification_report,
    off_by_two_errors_name,
    report_rows,
    summarize_classification,
)
from streetlab.metrics.expected_precision import Prior, expected_precision
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.statistics import wilson_interval


def _predictions(labels, predicted, names=CLEANLINESS.names) -> Predictions:
    n = len(labels)
    probabilities = np.full((n, len(names)), 1 / len(names))
    return Predictions([str(i) for i in range(n)], [""] * n, labels, predicted, probabilities, names)


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_scikit_learn_also_where_classes_are_absent(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 8))
    present = rng.choice(k, size=max(2, k - 2), replace=False)
    labels = rng.choice(present, 200)
    predicted = np.where(rng.random(200) < 0.6, labels, rng.choice(present, 200))
    names = tuple(f"c{i}" for i in range(k))
    space = LabelSpace("s", "classification", names, ((0, 0, 0),) * k, ordinal=True)
    summary = summarize_classification(_predictions(labels, predicted, names), space)

    assert summary["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted), abs=1e-6)
    macro = metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert summary["macro_f1"] == pytest.approx(macro, abs=1e-6)
    assert summary["confusion"] == metrics.confusion_matrix(labels, predicted, labels=range(k)).tolist()
    kappa = metrics.cohen_kappa_score(labels, predicted, labels=range(k), weights="quadratic")
    assert summary["quadratic_weighted_kappa"] == pytest.approx(kappa, abs=1e-6)
    assert summary["far_errors"] == int((abs(labels - predicted) >= 2).sum())
    assert summary["far_error_share"] == pytest.approx(np.mean(abs(labels - predicted) >= 2))
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    for row, precision, recall, f1, support in zip(report_rows(summary), *expected, strict=True):
        assert row["precision"] == pytest.approx(precision, abs=1e-6)
        assert row["recall"] == pytest.approx(recall, abs=1e-6)
        assert row["f1"] == pytest.approx(f1, abs=1e-6)
        assert row["support"] == support


def test_one_class_only_has_no_kappa():
    summary = summarize_classification(_predictions(np.zeros(5, int), np.zeros(5, int)), CLEANLINESS)
    assert summary["quadratic_weighted_kappa"] is None
    assert summary["macro_f1"] == 1.0


def test_a_nominal_space_has_no_ordinal_numbers():
    space = LabelSpace("s", "classification", ("a", "b"), ((0, 0, 0),) * 2)
    summary = summarize_classification(_predictions(np.array([0, 1]), np.array([0, 0]), space.names), space)
    assert "far_errors" not in summary


def test_other_classes_or_no_photo_are_refused():
    with pytest.raises(UserError, match="a, b"):
        summarize_classification(_predictions(np.array([0]), np.array([0]), ("a", "b")), CLEANLINESS)
    with pytest.raises(UserError, match="empty"):
        summarize_classification(_predictions(np.array([], int), np.array([], int)), CLEANLINESS)


def test_ids_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match=r"allowed 0\.\.2"):
        _predictions(np.array([3]), np.array([0]))


def test_no_classifier_of_content_gets_beyond_the_ceiling():
    groups = ["a", "a", "a", "b", "b", "c", "", ""]
    labels = np.array([0, 0, 2, 1, 2, 1, 0, 2])
    best = 0.0
    for answers in np.ndindex(3, 3, 3, 3, 3):  # of a, b, c and the two photos without a group
        said = np.array([answers[i] for i in (0, 0, 0, 1, 1, 2, 3, 4)])
        best = max(best, float(np.mean(said == labels)))
    assert accuracy_ceiling(labels, groups) == best == 6 / 8
    assert accuracy_ceiling(labels, [str(i) for i in range(8)]) == 1.0


def test_the_report_shows_every_class_with_n():
    summary = summarize_classification(_predictions(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])), CLEANLINESS)
    lines = classification_report(summary).splitlines()
    assert lines[1].split() == ["Clean", "1.000", "0.500", "0.667", "2"]
    assert lines[5].split() == ["accuracy", "0.750", "4"]
    assert lines[6].split() == ["macro", "F1", "0.778", "4"]


def test_the_report_tells_what_else_is_known_of_a_split_and_no_more():
    predictions = _predictions(np.array([0, 0, 1, 2]), np.array([2, 0, 1, 2]))
    summary = summarize_classification(predictions, CLEANLINESS)
    text = classification_report(summary)
    assert "Clean ↔ Litter errors: 1 (25.0% of 4)" in text
    assert "ECE 0.167 (" in text
    for further in ("temperature", "ceiling", "precision at"):
        assert further not in text
    sharper = np.eye(3)[predictions.predictions] * 0.7 + 0.1
    summary |= {"temperature": 0.5, "temperature_from": "val", "accuracy_ceiling": 0.75}
    summary |= calibration_numbers(sharper, predictions.labels, "_calibrated")
    summary["expected_precision"] = expected_precision(predictions, Prior("Litter", 0.05))
    text = classification_report(summary)
    assert "with temperature 0.500, fitted on val: ECE" in text
    assert "accuracy ceiling 0.750" in text
    assert "precision at 5% Litter: 0.136 [" in text
    assert "recall 1.000 (n = 1) and false positive rate 0.333 (n = 3)" in text


def test_a_scale_of_more_classes_has_no_two_ends_to_name_its_far_errors_by():
    assert off_by_two_errors_name(CLEANLINESS.names) == "Clean ↔ Litter errors"
    assert off_by_two_errors_name(("a", "b", "c", "d")) == "errors of 2 or more steps"


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (101, 114), (1, 3)])
def test_the_wilson_interval_equals_scipy(hits, n):
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)

"""The test part of a run is read in the order of the survey's classes, calibrated as the survey's photos are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from streetlab.errors import UserError
from streetlab.survey.known_photos import read_known_photos


def test_confusion_and_probabilities_follow_the_wanted_order(make_record):
    record = make_record("run")
    tested = record.predictions()
    order = ["Litter", "Clean", "Medium"]
    known = read_known_photos(record.path, order)
    names = np.array(tested.names)
    expected = confusion_matrix(names[tested.labels], names[tested.predictions], labels=order)
    assert known.confusion.tolist() == expected.tolist()
    assert known.probabilities[:, 1] == pytest.approx(tested.probabilities[:, 0])


def test_probabilities_are_calibrated_where_the_run_has_a_temperature(make_record):
    record = make_record("run")
    metrics = json.loads((record.path / "metrics.json").read_text())
    metrics["test"]["temperature"] = 2.0
    (record.path / "metrics.json").write_text(json.dumps(metrics))
    known = read_known_photos(record.path)
    before = record.predictions().probabilities
    assert known.probabilities == pytest.approx(softmax(np.log(np.maximum(before, 1e-38)) / 2, axis=1))


def test_another_runs_classes_are_refused(make_record):
    with pytest.raises(UserError, match="has the classes Clean, Medium, Litter, not clean, dirty"):
        read_known_photos(make_record("run").path, ["clean", "dirty"])

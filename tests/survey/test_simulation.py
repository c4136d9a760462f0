"""Surveys of synthetic cities with a known truth: few for `make test`, the studies of experiments/survey in full."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from streetlab.metrics.statistics.prediction_powered import prediction_powered_mean
from streetlab.metrics.statistics.survey_sampling import sampling_design, segment_means, survey_mean

FOLDER = Path(__file__).parents[2] / "experiments" / "survey"


@pytest.fixture
def study(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("simulate")


def room(worlds: int, share: float = 0.95) -> float:
    """How far a share of that many worlds may be off by chance: 2.6 standard errors, 1 in 100."""
    return 2.6 * float(np.sqrt(share * (1 - share) / worlds))


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_people_and_ppi_hold_the_truth_where_the_models_own_mean_does_not(study, bias):
    worlds, graded = 60, 15
    middles, _ = study.street_network()
    n = len(middles)
    assert n == 293
    cities = study.Cities(middles, study.read_answers(FOLDER / "answers.csv"), study.Settings(bias=bias))
    rng, design = np.random.default_rng(1), sampling_design(n, population=[n])
    held, widths = [], []
    for _ in range(worlds):
        city = cities.draw(rng)
        means = segment_means(city.severity[:, None], city.segment)[:, 0]
        grades = study.grade_segments(city, rng.permutation(n)[:graded], 3, rng)
        human = prediction_powered_mean(means, grades, design, tuning=0.0)
        ppi = prediction_powered_mean(means, grades, design)
        ends = [each.interval() for each in (survey_mean(means, design.without_fraction()), human, ppi)]
        held.append([low <= city.truth.mean() <= high for low, high in ends])
        widths.append([high - low for low, high in ends[1:]])
    naive, of_people, powered = np.mean(held, axis=0)
    assert min(of_people, powered) > 0.93 - room(worlds)
    assert naive < (0.5 if bias else 0.93)
    of_people_width, powered_width = np.median(widths, axis=0)
    assert powered_width < (0.77 if bias else 0.6) * of_people_width  # of equal width, 40% of the grades are saved


@pytest.mark.slow
def test_the_study_of_coverage(study, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "_write", lambda _, worlds, numbers: (tmp_path / "n").write_text(json.dumps(numbers)))
    worlds = 300
    study.coverage(worlds)
    numbers = json.loads((tmp_path / "n").read_text())
    for key, row in numbers.items():
        estimator = key.split(": ")[1]
        few = estimator.split(", ")[-1] in ("5", "7")
        if estimator.startswith(("human", "ppi")) and not few:
            assert row["coverage"] > 0.93 - room(worlds), key
    assert numbers["biased: naive mean"]["coverage"] < 0.5
    assert numbers["biased: Rogan-Gladen"]["coverage"] < 0.5
    assert numbers["as tested: Rogan-Gladen"]["coverage"] > 0.93 - room(worlds)
    for model in study.MODELS:
        saved = study.grades_saved(numbers, model)
        assert min(saved[g] for g in (10, 20, 30, 50)) >= 0.4


@pytest.mark.slow
def test_the_study_of_plans(study, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "_write", lambda _, worlds, numbers: (tmp_path / "n").write_text(json.dumps(numbers)))
    study.plan(200)
    numbers = json.loads((tmp_path / "n").read_text())
    assert all(0.9 <= row["ratio"] <= 1.1 for row in numbers.values())


@pytest.mark.slow
def test_the_study_of_trends(study, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "_write", lambda _, worlds, numbers: (tmp_path / "n").write_text(json.dumps(numbers)))
    worlds = 300
    study.trend(worlds)
    numbers = json.loads((tmp_path / "n").read_text())
    for key, row in numbers.items():
        if "+0 points" in key and "as they were" in key:
            assert 0.03 - room(worlds, 0.05) < row["found"] < 0.07 + room(worlds, 0.05), key
    assert numbers["as tested: streets as they were, 293 streets, +5 points"]["found"] > 0.8

"""`streetlab survey` with grades and a baseline: the numbers in its files, and one clear line for what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from shapely import LineString, box
from tests.support.drawn_survey import CLASSES, drawn_photos
from tests.support.street_files import write_features

from streetlab import cli

STREETS = 12


def write_week(path: Path, seed: int, bias: float = 0.0) -> list[str]:
    """A table of predictions of three photos in each street; returns what a person would say of each."""
    rng = np.random.default_rng(seed)
    segments = np.repeat(np.arange(STREETS), 3)
    label, probabilities = drawn_photos(rng, segments, bias)
    rows = ["file,prediction,confidence,p_Clean,p_Medium,p_Litter,lat,lon"]
    for i, (street, row) in enumerate(zip(segments, probabilities, strict=True)):
        numbers = ",".join(f"{p:.6f}" for p in (row.max(), *row))
        rows.append(f"{i:02}.jpg,{CLASSES[row.argmax()]},{numbers},52.0005,{4.3 + 0.001 * street:.6f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return [CLASSES[i] for i in label]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [LineString([(4.3 + 0.001 * i, 52.0), (4.3 + 0.001 * i, 52.001)]) for i in range(STREETS)]
    write_features(tmp_path / "streets.gpkg", lines, {"id": [f"s{i:02}" for i in range(STREETS)]}, "EPSG:28992")
    halves = [box(4.29, 51.9, 4.3055, 52.1), box(4.3055, 51.9, 4.32, 52.1)]
    write_features(tmp_path / "districts.geojson", halves, {"name": ["West", "East"]}, "EPSG:4326")
    return tmp_path


WORDS = ("survey", "streets=streets.gpkg", "street_id=id", "districts=districts.geojson")


def test_grades_and_a_baseline_go_into_survey_json_and_the_tables(place, capfd):
    write_week(place / "may" / "predictions.csv", 1)
    human = write_week(place / "june" / "predictions.csv", 2, bias=3.0)
    assert cli.run([*WORDS, "source=may/predictions.csv", "output=may/survey"]) == 0, capfd.readouterr().err
    rows = [f"{3 * i:02}.jpg,{human[3 * i]}" for i in range(STREETS)]
    (place / "grades.csv").write_text("\n".join(["file,grade", *rows]) + "\n")
    words = [*WORDS, "source=june/predictions.csv", "output=june/survey", "grades=grades.csv", "baseline=may/survey"]
    assert cli.run(words) == 0, capfd.readouterr().err
    survey = json.loads((place / "june/survey/survey.json").read_text())
    severity = {
        (row["area"], row["estimator"]): row for row in survey["estimates"] if row["measure"] == "severity"
    }  # fmt: skip
    of_people = [{"Clean": 0, "Medium": 50, "Litter": 100}[human[3 * i]] for i in range(STREETS)]
    assert severity["all", "human"]["value"] == pytest.approx(np.mean(of_people))
    with (place / "june/survey/segments.csv").open() as file:
        segments = list(csv.DictReader(file))
    plug_in = severity["all", "plug_in"]["value"]
    assert plug_in == pytest.approx(np.mean([float(row["severity"]) for row in segments]), abs=1e-5)
    assert abs(severity["all", "ppi"]["value"] - np.mean(of_people)) < abs(plug_in - np.mean(of_people))
    assert {area for area, _ in severity} == {"all", "East", "West"}
    assert survey["scale"]["name"] == "severity"
    assert "baseline" in survey["inputs"]
    (whole,) = [row for row in survey["trend"] if row["area"] == "all"]
    assert whole["change"] == pytest.approx(np.mean([float(row["change"]) for row in segments]), abs=1e-5)
    with (place / "june/survey/photos.csv").open() as file:
        photos = {row["file"]: row for row in csv.DictReader(file)}
    assert photos["03.jpg"]["human_grade"] == human[3]
    assert photos["04.jpg"]["human_grade"] == ""
    lines = capfd.readouterr().out.splitlines()
    assert any(line.startswith(f"severity {severity['all', 'ppi']['value']:.1f} [") for line in lines)
    assert "No estimates rogan_gladen and em: they need run=, whose test part tells how often the model errs." in lines
    assert any(line.startswith(f"since the baseline: {whole['verdict']}") for line in lines)
    assert "East" in (place / "june/survey/survey.html").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["grades=none.csv"], "grades: no file none.csv"),
        (["grades=unknown.csv"], "grades: unknown.csv, line 2: the survey has no photo '99.jpg'"),
        (["grades=unknown.csv", "grades_sample=selected"], "'selected' is not one of random, segments, convenience"),
        (["baseline=leams"], "baseline: leams is on scale 'leams', this survey on 'severity'"),
        (["baseline=week"], "baseline: week holds no survey"),
        (["weights=area"], "weights: 'area' is not one of equal, length"),
        (["scale.acceptable=Some"], "scale.acceptable: 'Some' is not one of Clean, Medium, Litter"),
    ],
)
def test_what_does_not_fit_is_one_line(place, capfd, words, line):
    write_week(place / "week" / "predictions.csv", 1)
    (place / "unknown.csv").write_text("file,grade\n99.jpg,Clean\n")
    (place / "leams").mkdir()
    (place / "leams" / "survey.json").write_text('{"scale": {"name": "leams"}}')
    capfd.readouterr()
    assert cli.run([*WORDS, "source=week/predictions.csv", "output=out", *words]) == 2
    error = capfd.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1

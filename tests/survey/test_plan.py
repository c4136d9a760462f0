"""Plans: the interval that is wanted, at the least cost, and a random sample that a walker can follow."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
from scipy import stats
from shapely import LineString
from tests.support.drawn_survey import CLASSES, drawn_photos, photo_table, scale, segment_table
from tests.support.street_files import write_features

from streetlab import cli
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.survey.plan import (
    Components,
    Plan,
    components_of_pilot,
    components_of_test,
    draw_sample,
    expected_half_width,
    make_plan,
)
from streetlab.survey.tables import write_photos

PARTS = Components(np.array([[400.0, 340], [340, 350]]), np.array([[600.0, 400], [400, 500]]), "a pilot")
BLIND = Components(np.array([[400.0, 0], [0, 0]]), np.array([[600.0, 0], [0, 0]]), "a model that sees nothing")


def test_without_a_model_the_half_width_is_that_of_a_mean():
    """Cochran 1977, 4.1 with the finite population correction: all visited, all graded, four photos each."""
    reached = expected_half_width(50, 50, 4, 10**9, BLIND)
    assert reached == pytest.approx(stats.t.ppf(0.975, 49) * np.sqrt((400 + 600 / 4) / 50))


def test_the_plan_gives_the_interval_and_is_the_cheapest_that_does():
    plan = make_plan(4.0, 800, 3, PARTS, grade_cost=2.0)
    assert plan.half_width <= 4.0
    assert plan.graded <= plan.visited <= 800
    assert plan.people_alone is not None
    assert plan.graded < 0.7 * plan.people_alone
    visited = np.arange(10, 801)[:, None]
    graded = np.arange(10, 801)[None]
    with np.errstate(invalid="ignore"):
        reached = np.where(graded <= visited, expected_half_width(visited, graded, 3, 800, PARTS), np.inf)
    cost = np.where(reached <= 4.0, visited + 2.0 * graded, np.inf)
    assert plan.visited + 2 * plan.graded <= 1.02 * cost.min()  # 200 of the numbers of visits are tried


def test_dear_grades_are_fewer_and_a_narrow_interval_needs_more():
    cheap, dear = make_plan(4.0, 800, 3, PARTS, grade_cost=0.2), make_plan(4.0, 800, 3, PARTS, grade_cost=5)
    assert dear.graded < cheap.graded
    assert dear.visited >= cheap.visited
    assert make_plan(3.0, 800, 3, PARTS).visited > make_plan(6.0, 800, 3, PARTS).visited


def test_an_interval_that_cannot_be_had_is_one_clear_line():
    with pytest.raises(UserError, match=r"half_width: 0.5 cannot be reached with 3 photos of each of 100 segments"):
        make_plan(0.5, 100, 3, PARTS)
    with pytest.raises(UserError, match="5 segments are too few"):
        make_plan(5, 5, 3, PARTS)


def test_a_pilots_components_are_those_that_it_was_drawn_from():
    rng = np.random.default_rng(0)
    segments = np.repeat(np.arange(3000), 4)
    truth = rng.multivariate_normal([40, 35], PARTS.between, 3000)[segments]
    both = truth + rng.multivariate_normal([0, 0], PARTS.within, len(segments))
    parts = components_of_pilot(segments, both[:, 0], both[:, 1], "pilot")
    assert parts.between == pytest.approx(PARTS.between, rel=0.1)
    assert parts.within == pytest.approx(PARTS.within, rel=0.05)


def test_a_pilot_of_few_streets_or_single_photos_is_refused():
    with pytest.raises(UserError, match="has grades of 9 segments"):
        components_of_pilot(np.repeat(np.arange(9), 2), np.arange(18.0), np.arange(18.0), "x")
    with pytest.raises(UserError, match="0 of them of two photos"):
        components_of_pilot(np.arange(30), np.arange(30.0), np.arange(30.0), "x")


def test_a_runs_components_split_the_variance_of_its_test_photos():
    rng = np.random.default_rng(1)
    grades, severity = rng.normal(size=(2, 200))
    parts = components_of_test(grades, severity, 0.3, "run")
    assert parts.between + parts.within == pytest.approx(np.cov(grades, severity))
    assert parts.between == pytest.approx(0.3 * np.cov(grades, severity))


def test_the_sample_is_drawn_at_random_in_proportion_to_the_strata():
    streets = segment_table(100, strata=["a"] * 70 + ["b"] * 27 + ["c"] * 3)
    plan = Plan(visited=40, graded=20, photos=3, half_width=3.0, people_alone=None)
    sample = draw_sample(streets, plan, 0)
    assert sample["stratum"].value_counts().to_dict() == {"a": 28, "b": 10, "c": 2}
    assert int(sample["grade"].sum()) == 20
    assert sample.groupby("stratum")["grade"].sum().min() >= 2
    assert sample["visit"].tolist() == list(range(1, 41))
    assert sample["segment"].is_unique
    shuffled = draw_sample(streets.sample(frac=1, random_state=1), plan, 0)
    assert shuffled["segment"].tolist() == sample["segment"].tolist()
    counts = np.zeros(100)
    for seed in range(100):
        counts[[int(name[1:]) for name in draw_sample(streets, plan, seed)["segment"]]] += 1
    assert counts[:70].mean() == pytest.approx(100 * 28 / 70)
    assert stats.chisquare(counts[:70]).pvalue > 0.001


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [LineString([(4.3 + 0.001 * i, 52.0), (4.3 + 0.001 * i, 52.001)]) for i in range(200)]
    write_features(tmp_path / "streets.gpkg", lines, {"id": [f"s{i:03}" for i in range(200)]}, "EPSG:28992")
    rng = np.random.default_rng(3)
    segments = np.repeat(np.arange(25), 3)
    label, probabilities = drawn_photos(rng, segments)
    photos = photo_table(segments, probabilities)
    write_photos(tmp_path / "pilot", photos.assign(human_grade=np.array(CLASSES)[label]))
    files.write_json(tmp_path / "pilot" / "survey.json", {"scale": scale().to_dict()})
    write_photos(tmp_path / "ungraded", photos)
    files.write_json(tmp_path / "ungraded" / "survey.json", {"scale": scale().to_dict()})
    return tmp_path


def test_the_command_plans_from_a_pilot_and_writes_the_sample(place, capsys):
    assert cli.run(["survey", "plan", "streets=streets.gpkg", "street_id=id", "half_width=6", "pilot=pilot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sample = gpd.read_file(lines[-1], layer="sample")
    plan = json.loads((place / "outputs/survey/plan/plan.json").read_text())["plan"]
    assert lines[0].startswith(f"visit {plan['visited']} of 200 streets with 3 photos each")
    assert f"grade the photos of {plan['graded']} of them" in lines[0]
    assert len(sample) == plan["visited"]
    assert int(sample["grade"].sum()) == plan["graded"]
    assert sample.crs.to_epsg() == 4326
    assert sample["length_m"].between(110, 112).all()
    rows = (place / "outputs/survey/plan/sample.csv").read_text().splitlines()
    assert rows[0] == "visit,segment,name,stratum,length_m,photos,grade"
    assert len(rows) == 1 + plan["visited"]


def test_the_command_plans_from_a_runs_test_part(place, make_record, capsys):
    run = make_record("run").path
    assert cli.run(["survey", "plan", "streets=streets.gpkg", "half_width=8", f"run={run}", "output=p"]) == 0
    assert "114 test photos" in capsys.readouterr().out
    assert (place / "p" / "sample.csv").is_file()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "pilot, run: give one of the two"),
        (["pilot=nothing"], "pilot: nothing holds no survey"),
        (["pilot=ungraded"], "pilot: ungraded has no grades"),
        (["pilot=pilot", "half_width=0"], "half_width: '0' is not a number above 0"),
        (["pilot=pilot", "half_width=0.2"], "half_width: 0.2 cannot be reached"),
        (["pilot=pilot", "streets=street.gpkg"], "did you mean 'streets.gpkg'?"),
    ],
)
def test_what_cannot_be_planned_is_one_line(place, capfd, words, line):
    capfd.readouterr()
    assert cli.run(["survey", "plan", "streets=streets.gpkg", *words]) == 2
    error = capfd.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1
    assert not (place / "outputs").exists()

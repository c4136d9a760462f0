"""Scales of cities: what their sources say of grades holds on severity, and a wrong scale is one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.support.drawn_survey import photo_table, scale, segment_table

from streetlab.config.composition import composer, config_folder
from streetlab.errors import UserError
from streetlab.survey.estimates import estimate
from streetlab.survey.scales import read_scale

NAMES = sorted(path.stem for path in Path(config_folder(), "scale").glob("*.yaml"))
ONE_HOT = np.eye(3)


def values(name: str = "severity"):
    return yaml.safe_load(Path(config_folder(), "scale", f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_has_a_source_and_says_that_it_is_not_validated(name):
    read = scale(name)
    assert read.name == name
    assert "not validated on streets" in read.note
    assert len(read.source) > 40
    assert "http" not in yaml.safe_dump(values(name))
    assert read.severities[0] == 0
    assert read.severities[-1] == 100


def test_this_studys_classes_are_0_50_and_100():
    photos = photo_table([0, 0, 0, 0], np.array([*ONE_HOT, [0.5, 0.3, 0.2]]))
    assert photos["severity"].tolist() == pytest.approx([0, 50, 100, 35])
    assert photos["grade"].tolist() == ["Clean", "Medium", "Litter", "Medium"]
    assert photos["acceptable"].tolist() == [True, True, False, True]


def test_leams_gives_3_2_1_and_0_points_and_67_is_acceptable():
    """Keep Scotland Beautiful: index = points / (3 x sites) x 100."""
    leams = scale("leams")
    assert [100 - severity for severity in leams.severities] == pytest.approx([100, 200 / 3, 100 / 3, 0], abs=1e-5)
    assert leams.positions([0, 16, 18, 33.4, 49, 51, 66, 84, 100]).tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert leams.grades[: leams.acceptable] == ("A", "B")
    assert leams.index == "LEAMS cleanliness index"


def test_ni_195_counts_what_is_below_b():
    photos = photo_table([0, 1, 2, 3], np.array([[1, 0, 0], [0.4, 0.6, 0], [0, 0.5, 0.5], [0, 0, 1]]), scale("ni195"))
    assert photos["grade"].tolist() == ["A", "B", "C", "D"]
    rows = estimate(photos, segment_table(4), scale=scale("ni195")).rows
    (acceptable,) = [row.value for row in rows if row.measure == "acceptable"]
    assert 1 - acceptable == 0.5  # "% below B"


def test_crow_has_five_levels():
    assert scale("crow").grades == ("A+", "A", "B", "C", "D")
    assert scale("crow").positions([0, 25, 50, 75, 100]).tolist() == [0, 1, 2, 3, 4]


def test_a_photo_without_a_prediction_has_no_grade():
    photos = photo_table([0, 0], np.array([[np.nan] * 3, [0.2, 0.2, 0.6]]))
    assert np.isnan(photos["severity"][0])
    assert photos["grade"].tolist() == ["", "Medium"]
    assert photos["acceptable"].isna().tolist() == [True, False]


def test_a_scale_of_ones_own_is_chosen_by_name_from_a_folder(tmp_path):
    mine = values() | {"name": "ours", "grades": {"good": 0, "fair": 30, "bad": 100}, "acceptable": "fair"}
    (tmp_path / "scale").mkdir()
    (tmp_path / "scale" / "ours.yaml").write_text(yaml.safe_dump(mine, sort_keys=False))
    with composer(str(tmp_path)) as compose:
        assert "ours" in compose.choices("scale")
    assert read_scale(mine).positions([14, 16, 66]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"acceptable": "Mediun"}, "'Mediun' is not one of Clean, Medium, Litter; did you mean 'Medium'?"),
        ({"grades": {"A": 0, "B": 60, "C": 40}}, "do not rise"),
        ({"grades": {"A": 0}}, "at least two grades"),
        ({"grades": {"A": 0, "B": 120}}, "scale.grades.B: '120' is not a number from 0 to 100"),
        ({"grade": {}}, "scale: no key 'grade'"),
        ({"classes": None}, "scale.classes: 'None' is not names with a severity from 0 to 100 each"),
    ],
)  # fmt: skip
def test_a_wrong_scale_is_one_clear_line(change, line):
    with pytest.raises(UserError, match="scale") as error:
        read_scale(values() | change)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_that_the_scale_does_not_know_is_named():
    with pytest.raises(UserError, match=r"no severity for the run's class 'Littr'; did you mean 'Litter'\?"):
        scale().class_severities(["Clean", "Littr"])


def test_classes_count_in_any_case_of_letters():
    assert list(scale().class_severities(["litter", "CLEAN", "Medium"])) == [100, 0, 50]

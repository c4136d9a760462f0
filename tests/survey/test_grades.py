"""Grades of people: read by photo and word, and what does not fit is one clear line."""

from __future__ import annotations

import pytest
from tests.support.drawn_survey import scale

from streetlab.errors import UserError
from streetlab.survey.grades import read_grades

FILES = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]


def test_grades_are_read_with_their_severity(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text("grade,file,who\nlitter,b/3.jpg,M\n Clean ,a/1.jpg,S\n")
    read = read_grades(path, FILES, scale())
    assert read.to_dict("list") == {
        "file": ["b/3.jpg", "a/1.jpg"], "grade": ["Litter", "Clean"], "severity": [100.0, 0.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,grade\na/1.jpeg,Clean\n", "line 2: the survey has no photo 'a/1.jpeg'; did you mean 'a/1.jpg'?"),
        ("file,grade\na/1.jpg,Clean\na/1.jpg,Litter\n", "line 3: 'a/1.jpg' has a grade in line 2 already"),
        ("file,grade\na/1.jpg,Clen\n", "'Clen' is no grade of severity (Clean, Medium, Litter); did you mean 'Clean'?"),
        ("file,grade\na/1.jpg,\n", "'' is no grade"),
        ("photo,grade\na/1.jpg,Clean\n", "has no column 'file' (there are: photo, grade)"),
        ("file\na/1.jpg\n", "has no column 'grade'"),
        ("", "has no rows"),
    ],
)
def test_grades_that_do_not_fit_are_one_clear_line(tmp_path, text, line):
    path = tmp_path / "grades.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_grades(path, FILES, scale())
    assert line in str(error.value)
    assert str(error.value).startswith(f"grades: {path}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"missing\.csv"):
        read_grades(tmp_path / "missing.csv", FILES, scale())

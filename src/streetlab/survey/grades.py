"""Grades that people gave to some of a survey's photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import from_text
from streetlab.survey.csv_files import read_csv
from streetlab.survey.scales import Scale


def read_grades(path: Path, files: Sequence[str], scale: Scale) -> pd.DataFrame:
    """Read a CSV file with the columns `file` and `grade`.

    Args:
        files: the photos of the survey.
        scale: whose grades the file has, in any case of letters.

    Returns:
        `file`, `grade` and `severity` of the grade, one row for each graded photo.

    Raises:
        UserError: no such file or column, a photo that the survey does not have or that is graded twice, or no such
            grade.
    """
    rows = read_csv("grades", path)
    if not rows:
        raise UserError(f"grades: {path} has no rows; expected a header 'file,grade' and a row for each graded photo")
    for column in ("file", "grade"):
        if column not in rows[0]:
            raise UserError(f"grades: {path} has no column '{column}' (there are: {', '.join(rows[0])})")
    known = set(files)
    by_word = {grade.casefold(): i for i, grade in enumerate(scale.grades)}
    line_of: dict[str, int] = {}
    positions = []
    for line, row in enumerate(rows, 2):
        place, file = f"grades: {path}, line {line}", from_text(row["file"])
        if file not in known:
            raise UserError(f"{place}: the survey has no photo '{file}'{did_you_mean(file, files)}")
        if file in line_of:
            raise UserError(f"{place}: '{file}' has a grade in line {line_of[file]} already; leave one")
        line_of[file] = line
        position = by_word.get(row["grade"].casefold())
        if position is None:
            near = did_you_mean(row["grade"], scale.grades)
            raise UserError(f"{place}: '{row['grade']}' is no grade of {scale.name} ({', '.join(scale.grades)}){near}")
        positions.append(position)
    return pd.DataFrame(
        {
            "file": [*line_of],
            "grade": [scale.grades[i] for i in positions],
            "severity": np.array([scale.severities[i] for i in positions], dtype=float),
        }
    )


def add_grades(photos: pd.DataFrame, grades: pd.DataFrame | None) -> pd.DataFrame:
    """Give each graded photo its `human_grade`, empty for the others; the photos as they are without grades."""
    if grades is None:
        return photos
    words = dict(zip(grades["file"], grades["grade"], strict=True))
    return photos.assign(human_grade=photos["file"].map(words).fillna("").astype(object))

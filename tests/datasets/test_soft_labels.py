"""Votes of several people as labels: which photo a row is for, and what a file must not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from streetlab.datasets.labels import CLEANLINESS
from streetlab.datasets.soft_labels import read_soft_labels
from streetlab.datasets.source import Sample
from streetlab.errors import UserError

SAMPLES = [
    Sample("train/clean/a.png", 0, "a"), Sample("train/litter/b.png", 2, "b"), Sample("train/litter/c.png", 2, "c"),
    Sample("train/medium/c.png", 1, "d"),
]  # fmt: skip
HEADER = "photo,Clean,Medium,Litter\n"


def read(tmp_path: Path, text: str) -> list[list[float]]:
    file = tmp_path / "votes.csv"
    file.write_text(text, encoding="utf-8-sig")  # as a spreadsheet saves it
    return read_soft_labels(file, SAMPLES, CLEANLINESS).tolist()


def test_rows_are_found_by_path_or_name_and_other_photos_keep_their_labels(tmp_path):
    found = read(
        tmp_path, HEADER + "train/clean/a.png,3,1,0\nb.png,0,0.5,0.5\ntrain\\litter\\c.png,0,0,7\nother.png,1,0,0\n"
    )
    assert found == [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 1, 0]]


def test_columns_may_come_in_any_order_with_others_beside_them(tmp_path):
    assert read(tmp_path, "Litter,who,photo,Medium,Clean\n1,me,a.png,1,2\n")[0] == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,Clean,Medum,Litter\n", "has no column 'Medium'; did you mean 'Medum'"),
        (HEADER + "c.png,1,0,0\n", "2 photos are called 'c.png'; write their paths below the root"),
        (HEADER + "a.png,1,0,0\na.png,1,0,0\n", "line 3: 'a.png' has a row already"),
        (HEADER + "a.png,1,,0\n", "line 2, Medium: '' is not a number from 0"),
        (HEADER + "a.png,1,-1,0\n", "line 2, Medium: '-1' is not a number from 0"),
        (HEADER + "a.png,0,0,0\n", "line 2: no class of 'a.png' is above 0"),
        (HEADER + "x.png,1,0,0\n", "has no row of any of the 4 photos, as 'train/clean/a.png'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.soft_labels: cannot read .*votes\.csv"):
        read_soft_labels(tmp_path / "votes.csv", SAMPLES, CLEANLINESS)

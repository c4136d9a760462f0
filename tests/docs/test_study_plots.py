"""The gallery shows the numbers that the studies' tables hold, and no study is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.site_extensions import load_extension

ROOT = Path(__file__).parents[2]
GALLERY = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
PAGE = """
Text.

| preset | seeds | accuracy [95%] | time, s |
|---|---|---|---|
| `first` | 0, 1 | **0.87 ± 0.02 [0.84, 0.90]** (0.88 0.86) | 1,085 |
| second | 0 | not measured | 8.7 (8.4-9.5) |

| network | score | share |
|---|---|---|
| one | a | 5.0% of 120 |
|  | b | −3.5% [-4%, 1.5%] |
"""


@pytest.fixture(scope="module")
def plots() -> Any:
    return load_extension("study_plots")


def test_a_tables_values_intervals_and_runs_are_read(plots: Any) -> None:
    accuracy, time = plots.read_series(PAGE, ["accuracy", "time"])
    assert (accuracy.heading, list(accuracy.cells)) == ("accuracy [95%]", ["first", "second"])
    first = accuracy.cells["first"]
    assert (first.value, first.interval, first.runs) == (0.87, (0.84, 0.90), (0.88, 0.86))
    assert accuracy.cells["second"] is None
    assert time.cells["first"].value == 1085
    assert (time.cells["second"].value, time.cells["second"].interval) == (8.7, (8.4, 9.5))
    (share,) = plots.read_series(PAGE, ["share"], ["network", "score"])
    assert {name: (cell.value, cell.interval) for name, cell in share.cells.items()} == {
        "one, a": (5.0, None),
        "one, b": (-3.5, (-4.0, 1.5)),
    }


@pytest.mark.parametrize("columns", [["accurracy"], ["accuracy", "share"], ["seeds of"]])
def test_a_column_that_is_gone_is_an_error(plots: Any, columns: list[str]) -> None:
    with pytest.raises(LookupError, match="no table with numbers in the columns"):
        plots.read_series(PAGE, columns)


def test_the_plot_draws_what_it_says_in_words(plots: Any) -> None:
    series = plots.read_series(PAGE, ["accuracy", "time"])
    axes = plots.draw(series).axes[0]
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert drawn["accuracy [95%]"] == [0.87]
    assert drawn["time, s"] == [1085, 8.7]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert "accuracy [95%]: first 0.87 ± 0.02 [0.84, 0.90] (0.88 0.86). time, s: first 1,085; second" in (
        plots.describe(series)
    )


PLOTS = re.findall(r":::\{study-plot\} ([\w-]+)\n((?::\w+: .+\n)+)", GALLERY)


@pytest.mark.parametrize(("study", "options"), PLOTS, ids=[f"{study}-{n}" for n, (study, _) in enumerate(PLOTS)])
def test_every_plot_of_the_gallery_finds_its_table_and_leads_to_its_study(plots: Any, study: str, options: str) -> None:
    given = dict(re.findall(r":(\w+): (.+)", options))
    columns, rows = ([part.strip() for part in given.get(key, "").split(";") if part] for key in ("columns", "rows"))
    page = (ROOT / "experiments" / study / "README.md").read_text(encoding="utf-8")
    assert plots.read_series(page, columns, rows)
    assert f"](studies/{study}.md)" in GALLERY


def test_the_gallery_has_plots() -> None:
    assert len(PLOTS) == GALLERY.count(":::{study-plot}") > 10

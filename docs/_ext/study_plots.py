"""Draw the numbers of a study when the site is built, from the tables in its README under `experiments/`.

One MyST directive, `study-plot`, whose argument is the study's folder and whose content is the caption:

    :::{study-plot} regimes
    :columns: test accuracy
    Test accuracy of five seeds each.
    :::

It draws the first table that has these columns, several of them separated by `;`, each by the beginning of its heading.
A row is named by the table's first column, or by those that `:rows:` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from streetlab.plots.figure import INK, MUTED, RULE, bare, legend_beside_heading, new_figure, series_color, svg

STUDIES = Path(__file__).parents[2] / "experiments"
_NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?"
_SPREAD_OF_ROWS = 0.36
"""How far apart the columns of one row lie, as a share of the distance between rows."""


@dataclass(frozen=True)
class Measured:
    """A cell of a table: its value, the interval or least and most, and the values of single runs."""

    text: str
    value: float
    interval: tuple[float, float] | None
    runs: tuple[float, ...]


@dataclass(frozen=True)
class Series:
    """A column of a table: its heading, and a cell for each named row, None for one without a number."""

    heading: str
    cells: dict[str, Measured | None]


def read_tables(text: str) -> Iterator[list[list[str]]]:
    """Yield the tables of a Markdown page as rows of cells without emphasis, the headings first."""
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip().replace("**", "").replace("`", "") for cell in line.strip()[1:-1].split("|")])
        elif table:
            yield [table[0], *table[2:]]  # the second line holds dashes
            table = []


def read_cell(text: str) -> Measured | None:
    """Read `0.87 ± 0.02 [0.84, 0.90] (0.88 0.86)`, of which all but the first number may be missing.

    Two numbers with a dash between them in brackets are the least and the most: `8.7 (8.4-9.5)`.
    """
    first = re.match(_NUMBER, text)
    if first is None:
        return None
    ends = re.search(rf"\[({_NUMBER})%?, ({_NUMBER})%?\]|\(({_NUMBER})[-–]({_NUMBER})\)", text)
    interval = None
    if ends is not None:
        low, high = (_number(end) for end in ends.groups() if end is not None)
        interval = (low, high)
    runs = re.search(rf"\(({_NUMBER}(?:,? {_NUMBER})+)\)", text)
    single = tuple(_number(run) for run in re.split(r",? ", runs.group(1))) if runs else ()
    return Measured(text, _number(first.group()), interval, single)


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def read_series(page: str, columns: Sequence[str], rows: Sequence[str] = ()) -> list[Series]:
    """Read the named columns of the first table that has them all.

    Args:
        page: the study's text.
        columns: the beginnings of the headings.
        rows: the beginnings of the headings of the columns that name a row; empty for the first column. A name that
            is left out in a table is the one above it.

    Raises:
        LookupError: no table has these columns, or no row of them a number.
    """
    for heads, *body in read_tables(page):
        at = [_position(heads, column) for column in columns]
        named = [_position(heads, row) for row in rows] or [0]
        if None in at or None in named:
            continue
        above = [""] * len(heads)
        cells: list[dict[str, Measured | None]] = [{} for _ in at]
        for row in body:
            above = [cell or last for cell, last in zip(row, above, strict=True)]
            name = ", ".join(above[i] for i in named if i is not None and above[i])
            for column, i in zip(cells, at, strict=True):
                column[name] = read_cell(row[i]) if i is not None else None
        if any(cell for column in cells for cell in column.values()):
            return [Series(heads[i], column) for i, column in zip(at, cells, strict=True) if i is not None]
    raise LookupError(f"no table with numbers in the columns {'; '.join([*rows, *columns])}")


def _position(heads: Sequence[str], beginning: str) -> int | None:
    return next((i for i, head in enumerate(heads) if head.startswith(beginning)), None)


def draw(series: Sequence[Series]) -> Figure:
    """Draw a row for each name: a dot for the value, a line for the interval, small dots for single runs."""
    names = [name for name in series[0].cells if any(each.cells[name] for each in series)]
    figure = new_figure(8.2, 0.9 + (0.2 + 0.16 * len(series)) * len(names))
    axes = figure.add_subplot()
    bare(axes)
    axes.grid(visible=False)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    for number, each in enumerate(series):
        offset = _SPREAD_OF_ROWS * (number / (len(series) - 1) - 0.5) if len(series) > 1 else 0.0
        color = series_color(number)
        drawn = [(row + offset, cell) for row, name in enumerate(names) if (cell := each.cells[name]) is not None]
        for y, cell in drawn:
            if cell.interval is not None:
                axes.plot(cell.interval, [y, y], color=color, linewidth=2.2)
            axes.plot(cell.runs, [y] * len(cell.runs), "o", color=color, markersize=3.5, alpha=0.5, linewidth=0)
        axes.plot([cell.value for _, cell in drawn], [y for y, _ in drawn], "o", color=color, markersize=6.5,
                  linewidth=0, label=each.heading)  # fmt: skip
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9, parse_math=False)
    low, high = axes.get_xlim()
    if low < 0 < high:
        axes.axvline(0, color=MUTED, linewidth=1)
    if len(series) > 1:
        legend_beside_heading(axes)
    else:
        axes.set_xlabel(series[0].heading, color=MUTED, fontsize=9, parse_math=False)
    return figure


def describe(series: Sequence[Series]) -> str:
    """Say in words what the plot shows: each row with its numbers as the table writes them."""
    lines = []
    for each in series:
        cells = [f"{name} {cell.text}" for name, cell in each.cells.items() if cell is not None]
        lines.append(f"{each.heading}: {'; '.join(cells)}")
    return f"Dot plot. {'. '.join(lines)}."


class StudyPlot(SphinxDirective):
    """A plot of a study's table, with a caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"columns": directives.unchanged_required, "rows": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the figure as inline SVG, whose colours follow the site's theme, and the caption below it."""
        path = STUDIES / self.arguments[0] / "README.md"
        self.env.note_dependency(str(path))
        columns, rows = (
            [part.strip() for part in self.options.get(option, "").split(";") if part.strip()]
            for option in ("columns", "rows")
        )
        try:
            series = read_series(path.read_text(encoding="utf-8"), columns, rows)
        except (OSError, LookupError) as error:
            raise self.error(f"{path}: {error}") from error
        picture = svg(draw(series), f"{self.arguments[0]}-{self.env.new_serialno('study-plot')}")
        label = escape(describe(series), quote=True)
        opening = f'<div class="study-plot" role="img" aria-label="{label}">{picture}</div>'
        return [nodes.raw("", opening, format="html"), *self.parse_content_to_nodes()]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and its colours."""
    app.add_directive("study-plot", StudyPlot)
    app.add_css_file("study_plots.css")
    return {"parallel_read_safe": True}

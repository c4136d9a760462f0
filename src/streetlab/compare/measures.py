"""The second table of a leaderboard: agreement on an ordinal scale, and whether the probabilities can be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from streetlab.compare.leaderboard import Row
from streetlab.compare.leaderboard_text import DASH, add_row, new_table, score
from streetlab.io.markdown import plain, table

HEADING = "Calibration and order"
_CEILING = "accuracy_ceiling"


@dataclass(frozen=True)
class _Column:
    """A header, what of a row stands below it, which number it is about, and what it means."""

    header: str
    cell: Callable[[Row], str]
    about: str
    note: str


@dataclass(frozen=True)
class MeasureTable:
    """What is shown below the leaderboard: cells by row, in the order of the ranks, and what they mean."""

    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def measure_table(rows: Sequence[Row]) -> MeasureTable | None:
    """The columns that at least one row has a number for, means over seeds; None where there is no such column.

    A ceiling that nothing lowers is not shown.
    """
    values = {column: [value for row in rows for value in row.values(column.about)] for column in _COLUMNS}
    columns = [c for c in _COLUMNS if (min(values[c]) < 1 if c.about == _CEILING and values[c] else values[c])]
    if not columns:
        return None
    return MeasureTable(
        headers=tuple(column.header for column in columns),
        cells=tuple(tuple(column.cell(row) for column in columns) for row in rows),
        notes=tuple(column.note for column in columns),
    )


def measures_markdown(rows: Sequence[Row]) -> str:
    """A section for below the leaderboard; empty where no record has such numbers."""
    shown = measure_table(rows)
    if shown is None:
        return ""
    cells = [[str(row.rank), row.group.name, *of] for row, of in zip(rows, shown.cells, strict=True)]
    notes = [f"- {plain(note)}" for note in shown.notes]
    return "\n".join(["", f"## {HEADING}", "", *table(["#", "run", *shown.headers], cells), "", *notes]) + "\n"


def measures_terminal(rows: Sequence[Row]) -> list[Table]:
    """The table for the terminal, or none; narrow, so the rank alone tells the row."""
    shown = measure_table(rows)
    if shown is None:
        return []
    drawn = new_table(shown.headers)
    for row, cells in zip(rows, shown.cells, strict=True):
        add_row(drawn, row, cells)
    return [drawn]


def _far_errors(row: Row) -> str:
    """`3.5 (0.5%)`: photos, a mean over seeds, and their share."""
    count, share = row.mean("far_errors"), row.mean("far_error_share")
    if count is None:
        return DASH
    number = f"{count:.0f}" if count == int(count) else f"{count:.1f}"
    return number if share is None else f"{number} ({100 * share:.1f}%)"


def _before_after(key: str) -> Callable[[Row], str]:
    """`0.084 → 0.031`: raw, and calibrated where the records have that."""

    def cell(row: Row) -> str:
        after = row.mean(f"{key}_calibrated")
        return score(row.mean(key)) if after is None else f"{score(row.mean(key))} → {score(after)}"

    return cell


def _mean(key: str) -> Callable[[Row], str]:
    return lambda row: score(row.mean(key))


_COLUMNS = (
    _Column(
        "kappa",
        _mean("quadratic_weighted_kappa"),
        "quadratic_weighted_kappa",
        "Kappa: agreement with the labels, weighted by the squared distance of the classes; 0 by chance, 1 in full.",
    ),
    _Column(
        "far errors", _far_errors, "far_errors", "Far errors: photos two or more classes off, as Clean ↔ Litter is."
    ),
    _Column(
        "ECE",
        _before_after("ece"),
        "ece",
        "ECE: expected calibration error in bins of equal mass, 0 to 1; → after temperature scaling fitted on val.",
    ),
    _Column(
        "ECE by chance",
        _before_after("ece_by_chance"),
        "ece_by_chance",
        "ECE by chance: what a perfectly calibrated classifier would show on so few photos.",
    ),
    _Column(
        "Brier",
        _before_after("brier"),
        "brier",
        "Brier: squared error of the probabilities, summed over the classes, 0 to 2; → as for ECE.",
    ),
    _Column(
        "ceiling",
        _mean(_CEILING),
        _CEILING,
        "Ceiling: the highest accuracy that is possible where photos of one duplicate group have different labels.",
    ),
)

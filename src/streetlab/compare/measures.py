"""The second table of a leaderboard: agreement on an ordinal scale, and calibration of the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from streetlab.compare.leaderboard import Row, added_targets
from streetlab.compare.leaderboard_text import DASH, add_row, new_table, score
from streetlab.io.markdown import plain, table
from streetlab.metrics.catalogue import BY_KEY, CATALOGUE, Metric

HEADING = "Calibration and order"


@dataclass(frozen=True)
class MeasureTable:
    """The table below the leaderboard: cells by row, in the order of the ranks, and their explanations."""

    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def measure_table(rows: Sequence[Row]) -> MeasureTable | None:
    """The columns that at least one row has a number for, means over seeds; None where there is no such column.

    A number that is trivial in all rows is not shown.
    """
    added = [
        Metric(name, "", name, column=name, note=f"{name}: {target}, from the runs' configs.")
        for name, target in added_targets(rows).items()
    ]
    columns = [metric for metric in (*CATALOGUE, *added) if metric.column and _is_informative(rows, metric)]
    if not columns:
        return None
    return MeasureTable(
        headers=tuple(metric.column for metric in columns),
        cells=tuple(tuple(_cell(row, metric) for metric in columns) for row in rows),
        notes=tuple(metric.note for metric in columns),
    )


def _is_informative(rows: Sequence[Row], metric: Metric) -> bool:
    return any(value != metric.trivial for row in rows for value in row.values(metric.key))


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


def _cell(row: Row, metric: Metric) -> str:
    """The mean over seeds: `0.084 → 0.031` where the records have it calibrated too, `3.5 (0.5%)` with its share."""
    value = row.mean(metric.key)
    if metric.share:
        return _count(value, row.mean(metric.share))
    after = row.mean(metric.calibrated_key) if metric.calibrated_key in BY_KEY else None
    return score(value) if after is None else f"{score(value)} → {score(after)}"


def _count(count: float | None, share: float | None) -> str:
    if count is None:
        return DASH
    number = f"{count:.0f}" if count == int(count) else f"{count:.1f}"
    return number if share is None else f"{number} ({100 * share:.1f}%)"

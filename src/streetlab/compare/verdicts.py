"""Intervals of a leaderboard, and paired tests of its best rows against a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streetlab.compare.leaderboard import Row
from streetlab.compare.pairwise import compare_with_baseline, metric_interval, seeds_interval
from streetlab.compare.select import Selection, tested_split
from streetlab.errors import UserError, did_you_mean

BASELINE = "baseline"
_MOST_NAMED = 8


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The rows with their intervals and verdicts, and what was not tested.

    Args:
        rows: in the order of the ranks.
        baseline: the row that the others were tested against.
        untested: rows that can not be tested, each with the reason.
        other_splits: how many rows were tested on other photos than the baseline.
        beyond: how many rows are left out because only the best are tested.
    """

    rows: tuple[Row, ...]
    baseline: Row
    untested: tuple[tuple[Row, str], ...]
    other_splits: int
    beyond: int


def judge(rows: Sequence[Row], selection: Selection, baseline: str | None, delta: float, most: int) -> Verdicts:
    """Test the best `most` rows against the baseline, on the photos that they share with it.

    Rows of another split are never tested. One run's interval over the photos is estimated for the rows that are
    tested and for the baseline, the interval over seeds for every row.

    Args:
        rows: ranked.
        selection: what they are from.
        baseline: see `find_baseline`.
        delta: margin of equivalence, in the metric's unit.
        most: the number of tests that Holm's correction counts at most.

    Raises:
        UserError: no row or several are called `baseline`.
    """
    base = find_baseline(rows, baseline)
    split = tested_split(base.group.runs[0])
    others = [row for row in rows if row is not base and row.mean("objective") is not None]
    same = [row for row in others if tested_split(row.group.runs[0]) == split or len(selection.splits) == 1]
    chosen = same[:most]
    tested, refused = compare_with_baseline(
        [row.group for row in chosen], base.group, selection.metric, selection.mode, delta
    )
    by_group = {comparison.group: comparison for comparison in tested}
    closely = {base.group, *(row.group for row in chosen)}
    judged = []
    for row in rows:
        comparison = by_group.get(row.group)
        verdict = BASELINE if row is base else comparison.verdict if comparison else ""
        interval = _interval(row, selection.metric, row.group in closely)
        judged.append(replace(row, interval=interval, verdict=verdict, comparison=comparison))
    row_of = {row.group: row for row in judged}
    return Verdicts(
        rows=tuple(judged),
        baseline=row_of[base.group],
        untested=tuple((row_of[group], reason) for group, reason in refused),
        other_splits=len(others) - len(same),
        beyond=len(same) - len(chosen),
    )


def find_baseline(rows: Sequence[Row], asked: str | None) -> Row:
    """The row that is meant by a name: its whole name, one of its parts, a record of it, or a piece of its name.

    Args:
        rows: ranked.
        asked: None for the best.

    Raises:
        UserError: it fits no row, or several equally well.
    """
    if asked is None:
        return rows[0]
    path = Path(asked).expanduser().resolve()
    ways: tuple[Callable[[Row], bool], ...] = (
        lambda row: row.group.name == asked,
        lambda row: any(record.path.resolve() == path for record in row.group.records),
        lambda row: any(record.name == asked for record in row.group.records),
        lambda row: asked in row.group.parts,
        lambda row: asked.lower() in row.group.name.lower(),
    )
    for fits in ways:
        found = [row for row in rows if fits(row)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"baseline: {asked!r} fits {len(found)} configurations: {_names(found)}; name one of them")
    parts = dict.fromkeys(part for row in rows for part in row.group.parts)
    records = dict.fromkeys(record.name for row in rows for record in row.group.records)
    near = did_you_mean(asked, [*(row.group.name for row in rows), *parts, *records])
    raise UserError(
        f"baseline: no configuration or record is called {asked!r}{near} (the configurations: {_names(rows)})"
    )


def _interval(row: Row, metric: str, closely: bool) -> tuple[float, float] | None:
    if len(row.group.runs) > 1:
        return seeds_interval(row.values("objective"))
    return metric_interval(row.group.runs[0], metric) if closely else None


def _names(rows: Sequence[Row]) -> str:
    names = [row.group.name for row in rows]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more

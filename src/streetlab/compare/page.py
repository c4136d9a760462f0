"""The HTML page of a comparison: leaderboard, tests, costs, curves, class scores, matrices, sheets of photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streetlab.compare import figures
from streetlab.compare.figures import Colored
from streetlab.compare.folds import FOLD
from streetlab.compare.grouping import FinishedRun, differing_keys, show
from streetlab.compare.leaderboard import RunResult
from streetlab.compare.leaderboard_text import (
    COST_HEADERS,
    DASH,
    against_header,
    cost_cell,
    difference_cell,
    interval_text,
    run_accuracy,
    score,
)
from streetlab.compare.measures import HEADING, measure_table
from streetlab.compare.options import Options
from streetlab.compare.select import Selection
from streetlab.compare.verdicts import Verdicts
from streetlab.metrics.catalogue import words
from streetlab.plots.page import link, render

_MOST_OPEN = 50
"""Rows of the leaderboard that lie open; the others unfold."""


def compare_page(
    heading: str, notes: Sequence[str], selection: Selection, verdicts: Verdicts, options: Options, output: Path
) -> str:
    """The page as HTML text; links to the records are relative to `output`, where it is going to lie."""
    rows, baseline, metric = verdicts.rows, verdicts.baseline, selection.metric
    everything, drawn = figures.color_rows(rows, baseline, options.most_tested)
    singly = figures.runs_shown_singly(drawn, options.most_tested)
    space, ticks = selection.runs[0].label_space, figures.scale(rows)
    return render(
        "compare.html",
        title=heading,
        notes=list(notes),
        metric=words(metric),
        split=baseline.split,
        accuracy=words(baseline.accuracy_key),
        with_accuracy=metric != baseline.accuracy_key,
        against=against_header(baseline) if any(row.comparison for row in rows) else "",
        classification=not selection.spec.per_pixel,
        cost_headers=list(COST_HEADERS.values()),
        rows=[_row(colored, ticks, output) for colored in everything],
        open_rows=_MOST_OPEN,
        measures=measure_table(rows),
        measures_heading=HEADING,
        ticks=ticks,
        drawn=[{"color": colored.color, "name": colored.row.group.name} for colored in drawn],
        beyond=_beyond(rows, drawn),
        forest=figures.forest(everything, baseline, metric, selection.mode, options.delta),
        sentences=[
            {"color": c.color, "rank": c.row.rank, "name": c.row.group.name, "text": c.row.comparison.sentence}
            for c in everything
            if c.row.comparison
        ],
        scatters=figures.scatters(everything, metric, selection.mode),
        curves=figures.curves(drawn, metric),
        bars=figures.bars(drawn, space),
        matrices=figures.matrices(singly, space),
        sheets=figures.sheets(singly),
        first_only=len(singly) < sum(len(colored.row.group.runs) for colored in drawn),
        settings=_settings(drawn),
        skipped=[
            {"path": str(record.path), "link": _relative(record.path, output), "reason": reason}
            for record, reason in selection.skipped
        ],
    )


def _row(colored: Colored, ticks: tuple[float, float], output: Path) -> dict[str, Any]:
    """The template's values for one row; `strip` are places on a little axis of 136 units."""
    row = colored.row

    def place(value: float) -> str:
        return f"{4 + 128 * (value - ticks[0]) / (ticks[1] - ticks[0]):.1f}"

    spread, accuracy_spread = row.spread("objective"), row.spread("accuracy")
    return {
        "rank": row.rank,
        "color": colored.color,
        "parts": row.group.parts,
        "mean": score(row.mean("objective")),
        "spread": "" if spread is None else f"± {score(spread)}",
        "interval": interval_text(row.interval),
        "strip": [place(value) for value in row.values("objective")],
        "strip_line": [place(end) for end in row.interval or ()],
        "accuracy": score(row.mean("accuracy")),
        "accuracy_spread": "" if accuracy_spread is None else f"± {score(accuracy_spread)}",
        "verdict": row.verdict or DASH,
        "difference": difference_cell(row) if row.comparison else "",
        "costs": [cost_cell(key, row.mean(key)) for key in COST_HEADERS],
        "runs": [_run(run, result, output) for run, result in zip(row.group.runs, row.results, strict=True)],
    }


def _run(run: FinishedRun, result: RunResult, output: Path) -> dict[str, Any]:
    """The numbers of one seed, and a link to its record or to that of each fold."""
    seed = str(DASH if result.seed is None else result.seed)
    return {
        "seed": seed if run.by_fold else "",
        "objective": score(result.objective),
        "accuracy": run_accuracy(result),
        "links": [
            {
                "text": str(member.settings[FOLD]) if run.by_fold else seed,
                "link": _relative(member.record.path, output),
                "path": str(member.record.path),
            }
            for member in run.members
        ],
    }


def _beyond(rows: Sequence[Any], drawn: Sequence[Colored]) -> str:
    """Say which rows the figures show, where they do not show all."""
    if len(drawn) == len(rows):
        return ""
    return f"The {len(drawn)} coloured configurations of {len(rows)}: the best, and the baseline."


def _settings(drawn: Sequence[Colored]) -> dict[str, Any]:
    """Every key of the resolved configs that differs between the drawn groups, one cell per group."""
    firsts = [colored.row.group.runs[0] for colored in drawn]
    return {
        "heads": [{"rank": colored.row.rank, "color": colored.color} for colored in drawn],
        "keys": [
            {"key": key, "cells": [show(run.settings[key]) if key in run.settings else DASH for run in firsts]}
            for key in differing_keys(firsts)
        ],
    }


def _relative(path: Path, output: Path) -> str:
    return link(os.path.relpath(path.resolve(), output.resolve()) + "/")

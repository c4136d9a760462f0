"""The HTML page of a comparison: leaderboard, curves, class scores, confusion matrices, sheets of photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from streetlab.data.index.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.runs.grouping import FinishedRun, differing_keys, show
from streetlab.runs.leaderboard import Row
from streetlab.runs.leaderboard_text import COST_HEADERS, DASH, cost_cell, run_accuracy, words
from streetlab.runs.selection import Selection
from streetlab.viz.bars import ClassScores, per_class_bars
from streetlab.viz.confusion import confusion_matrix
from streetlab.viz.curves import Curve, overlaid_curves
from streetlab.viz.figure import series_color
from streetlab.viz.page import inline_figure, inline_photos, link, render

_MOST_IN_A_SMALL_FIGURE = 8
_SHEETS = ("most_wrong.png", "best_median_worst.png")
"""The sheet of a run's record that the page shows, the first that is there."""


def compare_page(rows: Sequence[Row], selection: Selection, heading: str, notes: Sequence[str], output: Path) -> str:
    """The page as HTML text; links to the records are relative to `output`, where it is going to lie."""
    colors = [series_color(position) for position in range(len(rows))]
    space = label_space(selection.runs)
    return render(
        "compare.html",
        title=heading,
        notes=list(notes),
        metric=words(selection.metric),
        split=rows[0].split,
        accuracy=words(rows[0].accuracy_key),
        with_accuracy=selection.metric != rows[0].accuracy_key,
        classification=selection.task == "classification",
        cost_headers=list(COST_HEADERS.values()),
        rows=[_row(row, color, output) for row, color in zip(rows, colors, strict=True)],
        ticks=_scale(rows),
        curves=_curves(rows, colors, selection.metric),
        bars=_bars(rows, colors, space),
        matrices=_matrices(rows, colors, space),
        sheets=_sheets(rows, colors),
        settings=_settings(rows),
        skipped=[
            {"path": str(record.path), "link": _relative(record.path, output), "reason": reason}
            for record, reason in selection.skipped
        ],
    )


def label_space(runs: Sequence[FinishedRun]) -> LabelSpace | None:
    """The label space that the first run's metrics.json carries; None where it has none or a damaged one."""
    plain = runs[0].metrics.get("label_space")
    try:
        return LabelSpace.from_dict(plain) if plain else None
    except (KeyError, TypeError, ValueError):
        return None


def _row(row: Row, color: str, output: Path) -> dict[str, Any]:
    mean, spread = row.mean("objective"), row.spread("objective")
    accuracy, accuracy_spread = row.mean("accuracy"), row.spread("accuracy")
    return {
        "rank": row.rank,
        "color": color,
        "parts": row.group.parts,
        "mean": _number(mean),
        "spread": "" if spread is None else f"± {spread:.3f}",
        "values": row.values("objective"),
        "accuracy": _number(accuracy),
        "accuracy_spread": "" if accuracy_spread is None else f"± {accuracy_spread:.3f}",
        "costs": [cost_cell(key, row.mean(key)) for key in COST_HEADERS],
        "runs": [
            {
                "seed": DASH if result.seed is None else result.seed,
                "objective": _number(result.objective),
                "accuracy": run_accuracy(result),
                "link": _relative(run.record.path, output),
                "path": str(run.record.path),
            }
            for run, result in zip(row.group.runs, row.results, strict=True)
        ],
    }


def _scale(rows: Sequence[Row]) -> tuple[float, float]:
    """The ends of the little axis beside the scores: the values' range, widened to whole twentieths."""
    values = [value for row in rows for value in row.values("objective")]
    if not values:
        return 0.0, 1.0
    low, high = np.floor(min(values) * 20 - 0.2) / 20, np.ceil(max(values) * 20 + 0.2) / 20
    return float(low), float(high)


def _curves(rows: Sequence[Row], colors: Sequence[str], metric: str) -> list[Markup]:
    curves = []
    for row, color in zip(rows, colors, strict=True):
        for run in row.group.runs:
            try:
                history = run.record.history()
            except UserError:
                continue  # a record without its metrics.csv still has its place in the table
            curves.append(Curve(row.group.name, color, history))
    columns = dict.fromkeys(("loss", metric)) if curves else ()
    return [inline_figure(overlaid_curves(curves, column), f"curves-{column}") for column in columns]


def _bars(rows: Sequence[Row], colors: Sequence[str], space: LabelSpace | None) -> Markup | None:
    if space is None:
        return None
    groups = []
    for row, color in zip(rows, colors, strict=True):
        scores = [s for run in row.group.runs if (s := _class_scores(run, space)) is not None]
        if scores:
            groups.append(ClassScores(color, scores))
    title = f"{_class_score(space)[1]} per class"
    return inline_figure(per_class_bars(groups, space, title), "bars") if groups else None


def _class_score(space: LabelSpace) -> tuple[str, str]:
    """Key and word of the score that a task reports by class."""
    return ("f1", "F1") if space.task == "classification" else ("iou", "IoU")


def _class_scores(run: FinishedRun, space: LabelSpace) -> list[float] | None:
    """K scores, NaN for a class that occurs in neither truth nor prediction; None where the record has none."""
    per_class, (key, _) = run.test.get("per_class") or {}, _class_score(space)
    try:
        scores = [per_class[name][key] for name in space.names]
        return [float("nan") if score is None else float(score) for score in scores]
    except (KeyError, TypeError, ValueError):
        return None


def _matrices(rows: Sequence[Row], colors: Sequence[str], space: LabelSpace | None) -> list[dict[str, Any]]:
    """One matrix per run: seeds are never pooled as if they were more photos."""
    drawn: list[dict[str, Any]] = []
    for row, color in zip(rows, colors, strict=True):
        for run in row.group.runs:
            matrix = run.test.get("confusion")
            if space is None or matrix is None or np.shape(matrix) != (len(space), len(space)):
                continue
            figure = confusion_matrix(matrix, space)
            svg = inline_figure(figure, f"matrix-{len(drawn)}")
            drawn.append({"svg": svg, "large": len(space) > _MOST_IN_A_SMALL_FIGURE, **_caption(row, run, color)})
    return drawn


def _sheets(rows: Sequence[Row], colors: Sequence[str]) -> list[dict[str, Any]]:
    sheets = []
    for row, color in zip(rows, colors, strict=True):
        for run in row.group.runs:
            for name in _SHEETS:
                try:
                    source = inline_photos((run.record.figures / name).read_bytes())
                except OSError:
                    continue  # the figure is optional, and a damaged one is no reason to have no page
                sheets.append({"source": source, **_caption(row, run, color)})
                break
    return sheets


def _caption(row: Row, run: FinishedRun, color: str) -> dict[str, Any]:
    return {"name": row.group.name, "seed": DASH if run.seed is None else run.seed, "color": color}


def _settings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every key of the resolved configs that differs between groups, one cell per group."""
    firsts = [row.group.runs[0] for row in rows]
    return [
        {"key": key, "cells": [show(run.settings[key]) if key in run.settings else DASH for run in firsts]}
        for key in differing_keys(firsts)
    ]


def _relative(path: Path, output: Path) -> str:
    return link(os.path.relpath(path.resolve(), output.resolve()) + "/")


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"

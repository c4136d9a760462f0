"""Figures of a comparison's page: forest plot, costs, curves, class scores, matrices and photo sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from streetlab.compare.folds import FOLD
from streetlab.compare.grouping import FinishedRun
from streetlab.compare.leaderboard import Row
from streetlab.compare.leaderboard_text import COST_HEADERS, DASH, cost_in_unit, words
from streetlab.datasets.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.plots.bars import ClassScores, per_class_bars
from streetlab.plots.confusion import confusion_matrix
from streetlab.plots.curves import Curve, overlaid_curves
from streetlab.plots.figure import MUTED, SERIES, series_color
from streetlab.plots.forest import Difference, forest_plot
from streetlab.plots.page import inline_figure, inline_photos
from streetlab.plots.scatter import Point, quality_against_cost

_MOST_IN_A_SMALL_FIGURE = 8
_SHEETS = ("most_wrong.png", "best_median_worst.png")
"""The sheet of a run's record that the page shows, the first that is there."""
_PLOTTED_COSTS = ("parameters", "gmacs", "minutes", "images_per_second")
_MORE_IS_BETTER = ("images_per_second",)
_LONGEST_LABEL = 44


@dataclass(frozen=True, eq=False)
class Colored:
    """A row and the colour that it has in every figure; rows beyond the palette are grey and only in few."""

    row: Row
    color: str

    @property
    def label(self) -> str:
        """`#2 name`, a long name cut."""
        name = self.row.group.name
        short = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
        return f"#{self.row.rank}  {short}"


def color_rows(rows: Sequence[Row], baseline: Row, most: int) -> tuple[list[Colored], list[Colored]]:
    """All rows with their colours, and those of them that every figure draws.

    These are the best, at most `most` and no more than there are colours that stay apart, with the baseline
    always among them.
    """
    count = min(most, len(SERIES))
    drawn = list(rows[:count])
    if baseline not in drawn:
        drawn[-1] = baseline
    colors = {row: series_color(position) for position, row in enumerate(drawn)}
    everything = [Colored(row, colors.get(row, MUTED)) for row in rows]
    return everything, [colored for colored in everything if colored.row in colors]


def forest(rows: Sequence[Colored], baseline: Row, metric: str, mode: str, delta: float) -> Markup | None:
    """Each tested row's difference to the baseline; None where nothing was tested."""
    differences = [
        Difference(colored.label, colored.row.verdict, colored.color, tested.difference, tested.interval)
        for colored in rows
        if (tested := colored.row.comparison) is not None
    ]
    if not differences:
        return None
    title = f"{baseline.split} {words(metric)} minus that of #{baseline.rank}"
    return inline_figure(forest_plot(differences, delta, title, mode == "max"), "forest")


def scatters(rows: Sequence[Colored], metric: str, mode: str) -> list[Markup]:
    """The objective against each cost that at least half of the rows have and that is not the same for all."""
    figures = []
    for key in _PLOTTED_COSTS:
        points = []
        for colored in sorted(rows, key=lambda colored: colored.color == MUTED):
            cost, quality = colored.row.mean(key), colored.row.mean("objective")
            if cost is not None and quality is not None:
                points.append(Point(str(colored.row.rank), colored.color, cost_in_unit(key, cost), quality))
        costs = [point.cost for point in points]
        # means over other numbers of seeds differ in the last bits
        if not points or 2 * len(points) < len(rows) or math.isclose(min(costs), max(costs)):
            continue
        figure = quality_against_cost(
            points,
            COST_HEADERS[key],
            words(metric),
            more_is_better=mode == "max",
            less_cost_is_better=key not in _MORE_IS_BETTER,
        )
        figures.append(inline_figure(figure, f"cost-{key}"))
    return figures


def curves(rows: Sequence[Colored], metric: str) -> list[Markup]:
    """Validation loss and objective over epochs, a line per run and fold."""
    drawn = []
    for colored in rows:
        for record in colored.row.group.records:
            try:
                history = record.history()
            except UserError:
                continue  # a record without its metrics.csv still has its place in the table
            drawn.append(Curve(colored.row.group.name, colored.color, history))
    logged = {column for curve in drawn for column in (curve.history[0] if curve.history else ())}
    # an objective that was asked for afterwards need not have been logged in each epoch
    columns = ["loss", *([metric] if metric != "loss" and f"val/{metric}" in logged else [])] if drawn else []
    return [inline_figure(overlaid_curves(drawn, column), f"curves-{column}") for column in columns]


def bars(rows: Sequence[Colored], space: LabelSpace | None) -> Markup | None:
    """The task's score per class; None where no record has one."""
    if space is None:
        return None
    groups = []
    for colored in rows:
        scores = [s for run in colored.row.group.runs if (s := _class_scores(run, space)) is not None]
        if scores:
            groups.append(ClassScores(colored.color, scores))
    title = f"{_class_score(space)[1]} per class"
    return inline_figure(per_class_bars(groups, space, title), "bars") if groups else None


def matrices(runs: Sequence[tuple[Colored, FinishedRun]], space: LabelSpace | None) -> list[dict[str, Any]]:
    """One matrix per run: seeds are never pooled as if they were more photos."""
    drawn: list[dict[str, Any]] = []
    for colored, run in runs:
        matrix = run.test.get("confusion")
        if space is None or matrix is None or np.shape(matrix) != (len(space), len(space)):
            continue
        svg = inline_figure(confusion_matrix(matrix, space), f"matrix-{len(drawn)}")
        drawn.append({"svg": svg, "large": len(space) > _MOST_IN_A_SMALL_FIGURE, **_caption(colored, run)})
    return drawn


def sheets(runs: Sequence[tuple[Colored, FinishedRun]]) -> list[dict[str, Any]]:
    """The sheet of photos that each run's record keeps; of a set of folds that of the first."""
    shown = []
    for colored, run in runs:
        member = run.members[0]
        for name in _SHEETS:
            try:
                source = inline_photos((member.record.figures / name).read_bytes())
            except OSError:
                continue  # the figure is optional, and a damaged one is no reason to have no page
            fold = f", fold {member.settings[FOLD]} of {len(run.by_fold)}" if run.by_fold else ""
            shown.append({"source": source, **_caption(colored, run, fold)})
            break
    return shown


def runs_shown_singly(rows: Sequence[Colored], most: int) -> list[tuple[Colored, FinishedRun]]:
    """Every run of the rows, or the first of each where they are more than `most`."""
    every = [(colored, run) for colored in rows for run in colored.row.group.runs]
    return every if len(every) <= most else [(colored, colored.row.group.runs[0]) for colored in rows]


def scale(rows: Sequence[Row]) -> tuple[float, float]:
    """The ends of the little axis beside the scores: the values' range, widened to whole steps."""
    values = [value for row in rows for value in (*row.values("objective"), *(row.interval or ()))]
    if not values:
        return 0.0, 1.0
    span = max(values) - min(values)
    step = 0.05 if span <= 1 else 10.0 ** math.floor(math.log10(span))
    low, high = math.floor(min(values) / step - 0.2) * step, math.ceil(max(values) / step + 0.2) * step
    return (max(low, 0.0), min(high, 1.0)) if min(values) >= 0 and max(values) <= 1 else (low, high)


def _class_score(space: LabelSpace) -> tuple[str, str]:
    """Key and word of the score that a task reports by class."""
    return space.spec.class_score


def _class_scores(run: FinishedRun, space: LabelSpace) -> list[float] | None:
    """K scores, NaN for a class that occurs in neither truth nor prediction; None where the record has none."""
    per_class, (key, _) = run.test.get("per_class") or {}, _class_score(space)
    try:
        scores = [per_class[name][key] for name in space.names]
        return [float("nan") if score is None else float(score) for score in scores]
    except (KeyError, TypeError, ValueError):
        return None


def _caption(colored: Colored, run: FinishedRun, fold: str = "") -> dict[str, Any]:
    seed = DASH if run.seed is None else run.seed
    return {"name": colored.row.group.name, "seed": f"{seed}{fold}", "color": colored.color}

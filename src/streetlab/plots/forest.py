"""Differences to a baseline with their intervals, below each other against zero and the margin of equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from streetlab.plots.figure import INK, MUTED, RULE, bare, heading, new_figure


@dataclass(frozen=True)
class Difference:
    """One configuration: its label, its verdict in words, its colour, the difference and its interval."""

    label: str
    verdict: str
    color: str
    value: float
    interval: tuple[float, float]


def forest_plot(differences: Sequence[Difference], delta: float, title: str, more_is_better: bool = True) -> Figure:
    """A line per difference, the first at the top; the band around zero is ± `delta`.

    Args:
        differences: each in the metric's unit.
        delta: margin of equivalence, in the same unit.
        title: what is compared with what.
        more_is_better: whether a difference above zero is a gain.
    """
    figure = new_figure(8.2, 1.25 + 0.34 * len(differences))
    axes = figure.add_subplot()
    bare(axes)
    axes.grid(visible=False)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.axvspan(-delta, delta, color=MUTED, alpha=0.13, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    for position, difference in enumerate(differences):
        axes.plot(difference.interval, [position, position], color=difference.color, linewidth=2.2)
        axes.plot([difference.value], [position], "o", color=difference.color, markersize=6.5)
        axes.annotate(
            difference.verdict, (1.02, position), xycoords=("axes fraction", "data"), va="center", fontsize=9,
            color=INK, parse_math=False,
        )  # fmt: skip
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.set_yticks(range(len(differences)), [difference.label for difference in differences])
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9, parse_math=False)
    heading(axes, title)
    worse, better = ("worse", "better") if more_is_better else ("better", "worse")
    told = f"← {worse}  ·  difference with 95% interval, band ± {delta:g}  ·  {better} →"
    axes.set_xlabel(told, color=MUTED, fontsize=9)
    return figure

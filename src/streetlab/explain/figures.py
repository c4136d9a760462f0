"""Plots of an explanation's scores: deletion and insertion curves, and similarity under randomised layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from streetlab.explain.sanity import PASSES_BELOW
from streetlab.plots.figure import ACCENT, INK, MUTED, SERIES, bare, heading, new_figure
from streetlab.plots.page import inline_figure

_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "cam": ("map", {"color": ACCENT, "linewidth": 2.0}),
    "center": ("centre", {"color": SERIES[1], "linewidth": 1.5}),
    "random": ("random", {"color": MUTED, "linewidth": 1.5, "linestyle": (0, (4, 2))}),
}


def score_figures(scores: Mapping[str, Any]) -> dict[str, Markup]:
    """The figures that belong to the scores, as inline SVG by name."""
    figures = {}
    faithfulness = scores.get("faithfulness")
    if faithfulness:
        for kind, title in (("deletion", "Best cells blurred first"), ("insertion", "Best cells put in first")):
            curves = faithfulness[kind]["curves"]
            figures[kind] = inline_figure(_probabilities(faithfulness["fractions"], curves, title), kind)
    stages = (scores.get("sanity") or {}).get("stages")
    if stages:
        figures["sanity"] = inline_figure(_likeness(stages), "sanity")
    return figures


def _likeness(stages: Sequence[Mapping[str, Any]]) -> Figure:
    """The maps' rank correlation with the network's own after each layer that was reset, with intervals."""
    figure = new_figure(4.2, 2.9)
    axes = figure.add_subplot()
    bare(axes)
    places = range(len(stages) + 1)
    means = [1.0, *(stage["mean"] for stage in stages)]
    axes.axhspan(-PASSES_BELOW, PASSES_BELOW, color=MUTED, alpha=0.12, linewidth=0)
    axes.plot(places, means, color=ACCENT, linewidth=1.6, marker="o", markersize=4.5)
    for place, stage in enumerate(stages, 1):
        if stage["interval"]:
            axes.plot([place, place], stage["interval"], color=ACCENT, linewidth=3, alpha=0.35)
    axes.set_ylim(-1, 1.05)
    axes.set_xticks(list(places), ["trained", *(stage["group"] for stage in stages)], rotation=35, ha="right")
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    heading(axes, "Layers reset one after the other")
    axes.set_ylabel("rank correlation with its maps", color=MUTED, fontsize=9)
    return figure


def _probabilities(fractions: list[float], curves: Mapping[str, list[float]], title: str) -> Figure:
    """The mean probability of the class over the share of cells, of each order of the cells."""
    figure = new_figure(4.2, 2.9)
    axes = figure.add_subplot()
    bare(axes)
    for key, (name, style) in _LINES.items():
        axes.plot(fractions, curves[key], label=name, **style)
    axes.set(ylim=(0, 1), xlim=(0, 1))
    heading(axes, title)
    axes.set_xlabel("share of the cells", color=MUTED, fontsize=9)
    axes.set_ylabel("probability of the class", color=MUTED, fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.6)
    return figure

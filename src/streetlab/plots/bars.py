"""Scores per class as bars, one colour per run group, with a dot for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from streetlab.datasets.labels import LabelSpace
from streetlab.plots.figure import INK, MUTED, RULE, bare, heading, hex_color, new_figure


@dataclass(frozen=True, eq=False)
class ClassScores:
    """One run group's bars.

    Args:
        color: of all its bars; None gives each class its own of the label space's palette.
        scores: (runs, K), each 0 to 1; None or NaN where a class occurs in neither truth nor prediction.
    """

    color: str | None
    scores: ArrayLike


def iou_bars(summary: Mapping[str, Any], label_space: LabelSpace, title: str = "") -> Figure:
    """One run's IoU per class, each bar in its class's colour; a dash for a class that does not occur.

    Args:
        summary: of `runs.segmentation.summarize_segmentation`.
        title: what was measured, for the heading: `IoU per class: <title>`.
    """
    scores = [summary["per_class"][name]["iou"] for name in label_space.names]
    heading = f"IoU per class: {title}" if title else "IoU per class"
    return per_class_bars([ClassScores(None, scores)], label_space, heading)


def per_class_bars(groups: Sequence[ClassScores], label_space: LabelSpace, title: str = "F1 per class") -> Figure:
    """Horizontal bars of the mean over each group's runs, a dot for every run, the classes downwards.

    A class without a score in any of a group's runs has a dash in place of its bar.

    Raises:
        ValueError: scores of another number of classes.
    """
    k = len(label_space)
    thickness = 0.8 / max(1, len(groups))
    figure = new_figure(6.6, max(2.4, 0.9 + k * max(0.26, 0.17 * len(groups) + 0.14)))
    axes = figure.add_subplot()
    bare(axes)
    axes.grid(visible=False)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    for position, group in enumerate(groups):
        # None becomes NaN
        scores = np.atleast_2d(np.asarray(group.scores, dtype=float))
        if scores.shape[1] != k:
            raise ValueError(f"{label_space.name} has {k} classes, but the scores have shape {scores.shape}")
        y = np.arange(k) - 0.4 + (position + 0.5) * thickness
        present = ~np.isnan(scores)
        runs = present.sum(axis=0)
        mean = np.nansum(scores, axis=0) / np.maximum(runs, 1)
        color = group.color if group.color is not None else [hex_color(c) for c in label_space.palette]
        axes.barh(y, mean, height=thickness * 0.82, color=color, alpha=0.85, linewidth=0)
        if len(scores) > 1:
            axes.plot(scores.T, np.tile(y[:, None], len(scores)), ".", color=INK, markersize=3.5)
        for at, value, most, count in zip(y, mean, np.where(present, scores, 0).max(axis=0), runs, strict=True):
            axes.text(most + 0.008, at, f"{value:.2f}" if count else "–", va="center", fontsize=8, color=MUTED)
    axes.set(xlim=(0, 1.04), ylim=(k - 0.45, -0.55))
    axes.set_yticks(range(k), label_space.names)
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9.5, parse_math=False)
    heading(axes, title)
    return figure

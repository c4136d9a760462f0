"""Scores per class as bars, one colour per run group, with a dot for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from streetlab.data.index.labels import LabelSpace
from streetlab.viz.figure import INK, MUTED, RULE, bare, heading, new_figure


@dataclass(frozen=True, eq=False)
class ClassScores:
    """One run group's bars: its colour and its scores (runs, K), each 0 to 1."""

    color: str
    scores: ArrayLike


def per_class_bars(groups: Sequence[ClassScores], label_space: LabelSpace, title: str = "F1 per class") -> Figure:
    """Horizontal bars of the mean over each group's runs, a dot for every run, the classes downwards.

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
        scores = np.atleast_2d(np.asarray(group.scores, dtype=float))
        if scores.shape[1] != k:
            raise ValueError(f"{label_space.name} has {k} classes, but the scores have shape {scores.shape}")
        y = np.arange(k) - 0.4 + (position + 0.5) * thickness
        mean = scores.mean(axis=0)
        axes.barh(y, mean, height=thickness * 0.82, color=group.color, alpha=0.85, linewidth=0)
        if len(scores) > 1:
            axes.plot(scores.T, np.tile(y[:, None], len(scores)), ".", color=INK, markersize=3.5)
        for at, value, most in zip(y, mean, scores.max(axis=0), strict=True):
            axes.text(most + 0.008, at, f"{value:.2f}", va="center", fontsize=8, color=MUTED)
    axes.set(xlim=(0, 1.04), ylim=(k - 0.45, -0.55))
    axes.set_yticks(range(k), label_space.names)
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9.5, parse_math=False)
    heading(axes, title)
    return figure

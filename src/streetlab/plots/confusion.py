"""Confusion matrix: counts and row percentages, each row in the colour of its true class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from streetlab.datasets.labels import LabelSpace
from streetlab.plots.figure import INK, MUTED, hex_color, ink_on, new_figure

_MOST_WITH_COUNTS = 8
"""With more classes than this, a cell has room for its percentage only."""


def confusion_matrix(matrix: ArrayLike, label_space: LabelSpace, title: str = "") -> Figure:
    """Draw a (K, K) matrix of counts; the row is the true class, the column the predicted one.

    Percentages are of the row (the diagonal is the recall). n stands in the title: photos, or pixels in a
    segmentation space, whose cells show percentages only. A class that never occurs has an empty row.

    Raises:
        ValueError: the matrix does not have the label space's K.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    k = len(label_space)
    if counts.shape != (k, k):
        raise ValueError(f"{label_space.name} has {k} classes, but the matrix has shape {counts.shape}")
    pixels = label_space.spec.per_pixel
    with_counts = k <= _MOST_WITH_COUNTS and not pixels
    side = max(3.6, 0.55 * k + 1.6 if with_counts else 0.37 * k + 1.9)
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    for true in range(k):
        color = label_space.palette[true]
        for predicted in range(k):
            alpha = 0.05 + 0.95 * share[true, predicted]
            axes.add_patch(
                Rectangle((predicted + 0.03, true + 0.03), 0.94, 0.94, facecolor=hex_color(color), alpha=alpha, lw=0)
            )
            if rows[true, 0] and (with_counts or share[true, predicted] >= 0.005):
                ink = ink_on(color) if alpha > 0.6 else INK
                count = int(counts[true, predicted]) if with_counts else None
                _cell(figure, predicted, true, count, share[true, predicted], k, ink)
    axes.set(xlim=(0, k), ylim=(k, 0), aspect="equal")
    _class_axis(figure, label_space.names)
    for spine in axes.spines.values():
        spine.set_visible(False)
    n = f"n = {magnitude(int(counts.sum()))} pixels" if pixels else f"n = {counts.sum()}"
    n += "" if with_counts else ", % of each row"
    head = f"{title}  ({n})" if title else n
    axes.set_title(head, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=10).set_parse_math(False)
    return figure


def magnitude(count: int) -> str:
    """Format a count to three digits: `812`, `81.2 k`, `17.3 M`, `1.02 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:  # 999,999 rounds to the next unit
            scaled = count / size
            return f"{scaled:.{max(0, 2 - int(math.log10(scaled * 1.0005)))}f} {unit}"
    return str(count)


def _cell(figure: Figure, column: int, row: int, count: int | None, share: float, k: int, ink: str) -> None:
    """A cell's percentage, below its count where that is shown."""
    axes = figure.axes[0]
    percent = f"{100 * share:.0f}%"
    if count is None:
        size = 7.5 if k > _MOST_WITH_COUNTS else 9
        axes.text(column + 0.5, row + 0.5, percent[:-1], ha="center", va="center", fontsize=size, color=ink)
        return
    size = 14 if k <= 4 else 11
    axes.text(
        column + 0.5,
        row + 0.45,
        str(count),
        ha="center",
        va="center",
        fontsize=size,
        fontweight="bold",
        color=ink,
    )
    axes.text(column + 0.5, row + 0.72, percent, ha="center", va="center", fontsize=size * 0.62, color=ink)


def _class_axis(figure: Figure, names: Sequence[str]) -> None:
    axes = figure.axes[0]
    ticks = np.arange(len(names)) + 0.5
    crowded = len(names) > 6
    axes.set_xticks(ticks, names, rotation=90 if crowded else 0)
    axes.set_yticks(ticks, names)
    axes.tick_params(length=0, labelsize=8 if crowded else 9.5, labelcolor=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.set_xlabel("predicted", fontsize=9, color=MUTED)
    axes.set_ylabel("true", fontsize=9, color=MUTED)

"""Scatter plot of quality against one cost: a dot per configuration, the Pareto front as a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import ArrayLike, NDArray

from streetlab.plots.figure import INK, MUTED, RULE, bare, heading, new_figure

_LOGARITHMIC_FROM = 8.0
"""A cost whose largest value is so many times the smallest gets a logarithmic axis."""
_MOST_LABELS = 20
_LABEL_SIZE = 8.5
_NEAR, _FAR = 10.0, 15.0
"""Distances from a dot's centre to its label, in points."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """One configuration: its label (the rank), colour, cost and quality."""

    label: str
    color: str
    cost: float
    quality: float


def quality_against_cost(
    points: Sequence[Point], cost: str, quality: str, *, more_is_better: bool = True, less_cost_is_better: bool = True
) -> Figure:
    """A scatter of quality over cost with the Pareto front marked.

    The front and the first points are labelled, where there is a place that touches neither a dot nor another label.

    Args:
        points: the most important first; finite numbers.
        cost, quality: what the axes are called.
        more_is_better: whether quality is better where it is larger.
        less_cost_is_better: false for a cost such as images per second.
    """
    figure = new_figure(3.7, 3.1)
    axes = figure.add_subplot()
    bare(axes)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    x, y = np.array([point.cost for point in points]), np.array([point.quality for point in points])
    if len(points) and x.min() > 0 and x.max() / x.min() >= _LOGARITHMIC_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
    front = pareto_front(x if less_cost_is_better else -x, y if more_is_better else -y)
    if len(front) > 1:
        axes.plot(x[front], y[front], color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1.5)
    backwards = range(len(points) - 1, -1, -1)  # the first point lies on top
    axes.scatter(
        x[::-1], y[::-1], s=34, c=[points[i].color for i in backwards], linewidths=1.3, zorder=2,
        edgecolors=[INK if i in front else "none" for i in backwards],
    )  # fmt: skip
    axes.margins(0.1, 0.2)  # room for a label above the best
    heading(axes, cost)
    axes.set_ylabel(quality, color=MUTED, fontsize=9)
    _name_points(figure, axes, points, x, y, set(front.tolist()))
    return figure


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.int64]:
    """Positions (F,) of the Pareto-optimal points, cheapest first.

    Args:
        cost: (N,), less is better.
        quality: (N,), more is better.
    """
    costs, qualities = np.asarray(cost, dtype=float), np.asarray(quality, dtype=float)
    order = np.lexsort((-qualities, costs))
    front: list[int] = []
    for position in order:
        if not front or qualities[position] > qualities[front[-1]]:
            front.append(int(position))
    return np.array(front, dtype=np.int64)


def _name_points(
    figure: Figure, axes: Axes, points: Sequence[Point], x: NDArray[np.float64], y: NDArray[np.float64], front: set[int]
) -> None:
    """Write labels where it is free; those of the front come first."""
    if not points:
        return
    figure.draw_without_rendering()  # the layout decides where a number lies on the figure
    scale = 72 / figure.dpi
    at = axes.transData.transform(np.column_stack([x, y])) * scale
    frame = axes.get_window_extent()
    inside = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    taken: list[Box] = [(px - 4, py - 4, px + 4, py + 4) for px, py in at]
    for i in dict.fromkeys([*sorted(front), *range(min(len(points), _MOST_LABELS))]):
        # a rough box: the page sets the text in a font of its own
        half_width, half_height = 0.34 * _LABEL_SIZE * len(points[i].label) + 1, 0.6 * _LABEL_SIZE
        for dx, dy in _around():
            left, bottom = at[i][0] + dx - half_width, at[i][1] + dy - half_height
            box = (left, bottom, left + 2 * half_width, bottom + 2 * half_height)
            if _within(box, inside) and not any(_touch(box, other) for other in taken):
                break
        else:
            continue
        taken.append(box)
        label = axes.annotate(
            points[i].label, (x[i], y[i]), xytext=(dx, dy), textcoords="offset points", ha="center", va="center",
            fontsize=_LABEL_SIZE, color=INK, fontweight="bold" if i in front else "normal", parse_math=False,
        )  # fmt: skip
        label.set_in_layout(False)


def _around() -> Iterator[tuple[float, float]]:
    """Offsets from a dot to its label in points: above first, then around, then farther out."""
    for distance in (_NEAR, _FAR):
        for degrees in (90, 0, 180, 270, 45, 135, 315, 225):
            yield distance * np.cos(np.radians(degrees)), distance * np.sin(np.radians(degrees))


def _within(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""Reliability diagram: accuracy and number of photos in each bin of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from streetlab.plots.figure import INK, MUTED, RULE, bare, heading, new_figure, series_color

_BARS = 20


@dataclass(frozen=True, eq=False)
class Reliability:
    """One curve of the diagram.

    Attributes:
        label: what the legend calls it.
        confidence, accuracy: (B,) means of each bin, 0 to 1.
        interval: (B, 2) of the accuracy.
        photos: (N,) confidence of each photo.
    """

    label: str
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    interval: NDArray[np.float64]
    photos: NDArray[np.float64]


def reliability_diagram(curves: Sequence[Reliability], title: str = "") -> Figure:
    """Accuracy over confidence with a bar for each interval, above the shares of photos of each confidence.

    On the dashed line confidence is what it says; below it the classifier is too sure.
    """
    figure = new_figure(4.8, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    bare(above)
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    edges = np.linspace(0, 1, _BARS + 1)
    for position, curve in enumerate(curves):
        color = series_color(position)
        above.vlines(curve.confidence, curve.interval[:, 0], curve.interval[:, 1], color=color, alpha=0.35, linewidth=2)
        above.plot(curve.confidence, curve.accuracy, color=color, linewidth=1, alpha=0.5)
        # a bin that is always right lies on the edge
        above.plot(curve.confidence, curve.accuracy, "o", color=color, markersize=5, label=curve.label, clip_on=False)
        share = np.histogram(curve.photos, edges)[0] / len(curve.photos)
        below.stairs(share, edges, color=color, linewidth=1.4, fill=False)
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_ylabel("accuracy, with 95% interval", color=MUTED, fontsize=9)
    above.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK, handlelength=1.6, borderaxespad=0.4)
    heading(above, f"Reliability: {title}" if title else "Reliability")
    bare(below)
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.set_ylabel("photos", color=MUTED, fontsize=9)
    below.set_xlabel("confidence", color=MUTED, fontsize=9)
    for axes in (above, below):
        axes.grid(axis="x", color=RULE, linewidth=0.7)
    return figure

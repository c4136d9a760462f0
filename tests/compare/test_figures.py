"""Figures that weigh quality against cost, and differences against zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from streetlab.plots.figure import png
from streetlab.plots.forest import Difference, forest_plot
from streetlab.plots.scatter import Point, pareto_front, quality_against_cost


def _points(count: int, low: float = 1.0, high: float = 5.0) -> list[Point]:
    rng = np.random.default_rng(count)
    costs, qualities = rng.uniform(low, high, count), rng.uniform(0.5, 0.9, count)
    return [Point(str(i + 1), "#2f6fde", c, q) for i, (c, q) in enumerate(zip(costs, qualities, strict=True))]


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_beats(seed):
    rng = np.random.default_rng(seed)
    cost, quality = rng.integers(0, 8, 30), rng.integers(0, 8, 30)  # many ties

    def beaten(i):
        no_worse = (cost <= cost[i]) & (quality >= quality[i])
        return bool((no_worse & ((cost < cost[i]) | (quality > quality[i]))).any())

    front = pareto_front(cost, quality)
    assert not any(beaten(i) for i in front)
    kept = {(cost[i], quality[i]) for i in front}
    assert {(cost[i], quality[i]) for i in range(30) if not beaten(i)} == kept


def test_labels_overlap_neither_each_other_nor_the_frame():
    figure = quality_against_cost(_points(40), "GMACs", "mIoU")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert 5 < len(axes.texts) <= 40
    boxes = [text.get_window_extent(renderer).shrunk(0.9, 0.6) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))


@pytest.mark.parametrize(("high", "scale"), [(5.0, "linear"), (500.0, "log")])
def test_a_wide_range_of_costs_gets_a_logarithmic_axis(high, scale):
    figure = quality_against_cost([*_points(9, 1.0, high), Point("10", "#000000", high, 0.5)], "params", "mIoU")
    png(figure, 30)
    assert figure.axes[0].get_xscale() == scale


@pytest.mark.parametrize(("good", "cheap"), list(itertools.product([True, False], repeat=2)))
def test_the_best_bargain_is_ringed_whichever_way_is_better(good, cheap):
    points = [Point("1", "#2f6fde", 2.0, 0.5), Point("2", "#e0702b", 1.0, 0.9), Point("3", "#1f9d83", 3.0, 0.1)]
    figure = quality_against_cost(points, "images/s", "loss", more_is_better=good, less_cost_is_better=cheap)
    png(figure, 30)
    bold = {text.get_text() for text in figure.axes[0].texts if text.get_fontweight() == "bold"}
    assert bold == {(True, True): {"2"}, (False, False): {"3"}}.get((good, cheap), {"1", "2", "3"})


def test_no_or_one_point_is_no_error():
    png(quality_against_cost([], "params", "mIoU"), 30)
    png(quality_against_cost([Point("1", "#2f6fde", 0.0, 0.5)], "params", "mIoU"), 30)


def test_the_forest_shows_intervals_verdicts_and_the_margin():
    rows = [
        Difference("#2  $a$", "worse", "#e0702b", -0.1, (-0.15, -0.05)),
        Difference("#3", "?", "#1f9d83", 0, (0, 0)),
    ]
    figure = forest_plot(rows, 0.02, "mIoU minus that of #1", more_is_better=False)
    png(figure, 40)
    (axes,) = figure.axes
    assert {"worse", "?"} <= {text.get_text() for text in axes.texts}
    drawn = [list(line.get_xdata()) for line in axes.lines]
    assert [-0.15, -0.05] in drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == ["#2  $a$", "#3"]
    assert axes.get_xlabel().startswith("← better")
    (band,) = axes.patches
    assert band.get_extents().width > 0
    low, high = band.get_x(), band.get_x() + band.get_width()
    assert (low, high) == pytest.approx((-0.02, 0.02))

"""The reliability diagram shows the bins and shares that it is given."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from streetlab.plots.figure import png
from streetlab.plots.reliability import Reliability, reliability_diagram


def test_bins_intervals_and_shares_of_both_curves():
    before = Reliability(
        "as trained: ECE 0.200",
        np.array([0.6, 0.9]),
        np.array([0.5, 0.7]),
        np.array([[0.3, 0.7], [0.5, 0.85]]),
        np.array([0.55, 0.65, 0.9, 1.0]),
    )
    after = Reliability("temperature 2", np.array([0.5]), np.array([1.0]), np.array([[0.4, 1.0]]), np.full(4, 0.5))
    figure = reliability_diagram([before, after], "test, n = $4$")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(figure, 40).startswith(b"\x89PNG")
    above, below = figure.axes
    assert above.get_title(loc="left") == "Reliability: test, n = $4$"
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["as trained: ECE 0.200", "temperature 2"]
    bars = above.collections[0].get_segments()
    assert np.array(bars)[:, :, 1] == pytest.approx(before.interval)
    shares = below.patches[0].get_data().values
    assert shares.sum() == pytest.approx(1), "a photo with confidence 1 belongs to the last bar"
    assert shares[-1] == 0.25

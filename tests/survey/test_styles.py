"""The map's colours read on both papers, and for the colour-blind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from streetlab.survey.styles import CHANGES, COLORS, STEPS, WIDE, is_unsure, step_of

PAPERS = {"light": "#ffffff", "dark": "#14181c"}
# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0, on linear RGB
EYES = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color: str) -> NDArray[np.float64]:
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    x, y, z = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_each_color_has_the_contrast_that_wcag_wants_of_graphics(paper):
    light = [float(linear(color) @ [0.2126, 0.7152, 0.0722]) + 0.05 for color in (*COLORS, *CHANGES.values(), paper)]
    assert min(max(one, light[-1]) / min(one, light[-1]) for one in light[:-1]) >= 3


@pytest.mark.parametrize("eyes", EYES)
def test_neighbours_stay_apart(eyes):
    seen = [lab(np.clip(np.array(EYES[eyes]) @ linear(color), 0, 1)) for color in COLORS]
    apart = [float(np.linalg.norm(one - other)) for one, other in pairwise(seen)]
    assert min(apart) > 12, "2.3 is what an eye just notices"


@pytest.mark.parametrize(
    ("severity", "step"), [(0, 0), (19.99, 0), (20, 1), (79, 3), (80, 4), (100, 4), (float("nan"), None)]
)
def test_steps_hold_their_lower_end(severity, step):
    assert step_of(severity) == step
    assert len(STEPS) == len(COLORS) + 1


def test_a_street_is_unsure_with_few_photos_a_wide_interval_or_none():
    assert not is_unsure(10, 10 + WIDE - 1, uncertain=False)
    assert is_unsure(10, 10 + WIDE, uncertain=False)
    assert is_unsure(10, 12, uncertain=True)
    assert is_unsure(float("nan"), float("nan"), uncertain=False)

"""Heat over a photo: what is hot is coloured, what is cold stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.plots.heat import heat_overlay

PHOTO = np.full((4, 6, 3), 100, dtype=np.uint8)


def test_cold_places_show_the_photo_and_hot_ones_the_colour():
    heat = np.zeros((4, 6))
    heat[1, 2] = 1
    picture = heat_overlay(PHOTO, heat)
    assert picture.dtype == np.uint8
    assert (picture != PHOTO).any(axis=2).sum() == 1
    assert picture[1, 2, 0] > picture[1, 2, 2], "inferno ends in yellow"
    assert heat_overlay(PHOTO[:2, :2], heat).shape == PHOTO.shape


@pytest.mark.parametrize("heat", [np.zeros((2, 2, 3)), np.full((2, 2), 1.5), np.full((2, 2), np.nan), np.zeros((0, 3))])
def test_a_map_that_was_not_scaled_is_refused(heat):
    with pytest.raises(ValueError, match="expected"):
        heat_overlay(PHOTO, heat)

"""Data sets are named as people write them, and drawn ones as drawn."""

from __future__ import annotations

import pytest

from streetlab.config.composition import composer
from streetlab.datasets.names import data_set_name, training_data_name


def test_every_data_set_that_is_drawn_says_so():
    with composer() as compose:
        names = compose.choices("dataset")
    drawn = [name for name in names if training_data_name(name).startswith("drawn ")]
    assert drawn == [name for name in names if name.startswith("synthetic")]
    assert len(drawn) == 3


@pytest.mark.parametrize(("name", "written"), [("camvid", "CamVid"), ("my_streets", "my_streets")])
def test_others_have_their_name(name, written):
    assert data_set_name(name) == training_data_name(name) == written

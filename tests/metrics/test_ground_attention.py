"""How much of what a classifier looks at is ground: the shares of the map and of the ground."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.metrics.ground_attention import ground_attention


def test_shares_of_the_map_and_of_the_ground():
    activation = np.array([[0.0, 1.0, 2.0], [4.0, 1.0, -9.0]])
    ids = np.array([[3, 3, 0], [0, 1, 1]], np.uint8)
    found = ground_attention(activation, ids, [0, 1])
    assert found == {"on_ground": 7 / 8, "ground_looked_at": 2 / 4, "ground": 4 / 6}


@pytest.mark.parametrize(
    ("activation", "ids", "on_ground", "looked_at"),
    [(0.0, 0, None, 0.0), (0.0, 3, None, None), (1.0, 3, 0.0, None), (1.0, 0, 1.0, 1.0), (-1.0, 0, None, 0.0)],
)
def test_a_map_of_nothing_and_a_photo_without_ground_have_no_share(activation, ids, on_ground, looked_at):
    found = ground_attention(np.full((2, 3), activation), np.full((2, 3), ids, np.uint8), [0])
    assert (found["on_ground"], found["ground_looked_at"]) == (on_ground, looked_at)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match="both"):
        ground_attention(np.zeros((2, 3)), np.zeros((3, 2), np.uint8), [0])

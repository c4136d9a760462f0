"""Maps against masks that are known: numbers by hand, and the cases that are easily counted as success."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.explain.localization import score_localization


def corner_mask(height: int = 8, width: int = 16) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[:4, :4] = True
    return mask


def test_energy_pointing_and_lift_are_those_of_a_hand_computation():
    mask = corner_mask()
    half = np.where(mask, 3.0, 0)
    half[6, 10] = 48  # as much again outside, and the maximum with it
    inside = np.where(mask, 1.0, 0)
    inside[2, 2] = 5
    found = score_localization(np.stack([half, inside]), np.stack([mask, mask]))
    assert found["area"]["mean"] == pytest.approx(1 / 8)
    assert found["energy"]["cam"]["mean"] == pytest.approx((0.5 + 1) / 2)
    assert found["energy"]["uniform"]["mean"] == pytest.approx(1 / 8)
    assert found["energy"]["cam_minus_uniform"]["mean"] == pytest.approx(0.75 - 1 / 8)
    assert found["pointing"]["cam"]["mean"] == pytest.approx(0.5)
    assert found["pointing"]["center"]["mean"] == 0
    assert found["lift"]["cam"]["mean"] == pytest.approx((4 + 8) / 2)
    assert found["lift"]["median"] == pytest.approx(6)
    assert found["lift"]["center"]["mean"] < 1
    low, high = found["energy"]["cam_minus_center"]["interval"]
    assert low < found["energy"]["cam_minus_center"]["mean"] < high


def test_the_centre_is_a_gaussian_in_the_centre():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    found = score_localization(np.ones((1, 9, 9)), mask[None])
    assert found["pointing"]["center"]["mean"] == 1
    down = np.exp(-(((np.arange(9) - 4) / 9 * 4) ** 2) / 2)
    assert found["energy"]["center"]["mean"] == pytest.approx(1 / np.outer(down, down).sum())
    assert found["energy"]["center"]["interval"] is None


def test_photos_without_evidence_are_left_out_and_counted():
    mask = corner_mask()
    maps = np.stack([np.where(mask, 1.0, 0), np.ones(mask.shape)])
    found = score_localization(maps, np.stack([mask, mask & False]), ["a", "b"])
    assert (found["n"], found["empty"]) == (1, 1)
    assert found["energy"]["cam"]["mean"] == pytest.approx(1)
    none = score_localization(maps, np.stack([mask & False] * 2))
    assert none == {"n": 0, "empty": 2, "silent": 0, "tolerance": 0}


def test_a_map_of_zeros_is_chance_and_no_hit():
    mask = corner_mask()
    found = score_localization(np.zeros((1, *mask.shape)), mask[None])
    assert found["silent"] == 1
    assert found["energy"]["cam"]["mean"] == pytest.approx(1 / 8)
    assert found["pointing"]["cam"]["mean"] == pytest.approx(1 / 8)
    assert found["lift"]["cam"]["mean"] == pytest.approx(1)


def test_pointing_allows_a_tolerance_and_shares_a_hit_between_equal_maxima():
    mask = corner_mask()
    beside = np.zeros(mask.shape)
    beside[1, 5] = 1  # two pixels from the mask's last column
    for tolerance, hit in ((0, 0), (1, 0), (2, 1)):
        assert score_localization(beside[None], mask[None], tolerance=tolerance)["pointing"]["cam"]["mean"] == hit
    several = np.zeros(mask.shape)
    several[0, 0] = several[7, 7] = several[7, 9] = several[7, 11] = 1
    assert score_localization(several[None], mask[None])["pointing"]["cam"]["mean"] == pytest.approx(0.25)


def test_what_is_no_map_is_refused():
    mask = corner_mask()[None]
    with pytest.raises(ValueError, match="negative or not finite"):
        score_localization(-mask.astype(float), mask)
    with pytest.raises(ValueError, match="both"):
        score_localization(np.ones((1, 8, 8)), mask)

"""Faithfulness scores: hand-computed on predictors whose evidence is known, ROAD against its authors' imputer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy import stats
from torch import Tensor

from streetlab.explain import cells as cells_module
from streetlab.explain.cells import cell_means, impute, impute_cells, rank_cells
from streetlab.explain.faithfulness import score_faithfulness
from streetlab.metrics.statistics.mean_interval import mean_interval

SIDE, CELL = 32, 8


def patched(*cells: tuple[int, int]) -> tuple[Tensor, np.ndarray]:
    """An image (3, 32, 32) that is red in these of 4x4 cells, and the map that says so."""
    image = torch.zeros(3, SIDE, SIDE)
    for row, column in cells:
        image[0, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 1
    return image, image[0].numpy()


def share_left(red_cells: int):
    """Class 1: the share of the red cells that are still there; blurred red is none."""

    def predict(images: Tensor) -> Tensor:
        share = (images[:, 0] > 0.95).float().sum(dim=(1, 2)) / (red_cells * CELL**2)
        return torch.stack([1 - share, share], dim=1)

    return predict


def test_areas_are_those_of_a_hand_computation():
    image, ideal = patched((1, 1), (1, 2))
    found = score_faithfulness(share_left(2), image[None], [1], ideal[None], cells=4, steps=16, road_photos=0)
    # 1, 1/2, 0, 0, ... and 0, 1/2, 1, 1, ...
    assert found["fractions"] == [k / 16 for k in range(17)]
    assert found["deletion"]["curves"]["cam"] == pytest.approx([1, 0.5] + [0] * 15)
    assert found["insertion"]["curves"]["cam"] == pytest.approx([0, 0.5] + [1] * 15)
    assert found["deletion"]["auc"]["cam"]["mean"] == pytest.approx(1 / 16)
    assert found["insertion"]["auc"]["cam"]["mean"] == pytest.approx(15 / 16)
    # each cell's share goes at place j of one random order and at 17 - j of its reverse
    assert found["deletion"]["auc"]["random"]["mean"] == pytest.approx(0.5)
    assert found["insertion"]["auc"]["random"]["mean"] == pytest.approx(0.5)
    assert found["deletion"]["cam_minus_random"]["mean"] == pytest.approx(1 / 16 - 0.5)
    assert found["insertion"]["cam_minus_random"]["mean"] == pytest.approx(15 / 16 - 0.5)
    assert found["road"] is None
    assert found["flat"] == 0


def test_the_centre_is_hard_to_beat_where_the_evidence_is_in_the_centre():
    image, ideal = patched((1, 1), (1, 2), (2, 1), (2, 2))
    wrong = 1 - ideal
    images, maps = torch.stack([image, image]), np.stack([ideal, wrong])
    found = score_faithfulness(share_left(4), images, [1, 1], maps, cells=4, steps=16, road_photos=0)
    assert found["deletion"]["auc"]["center"]["mean"] == pytest.approx(2 / 16)
    # the good map is the centre's equal, the wrong one takes the four red cells last
    assert found["deletion"]["cam_minus_center"]["mean"] == pytest.approx((0 + 12 / 16) / 2)
    assert found["insertion"]["cam_minus_center"]["mean"] == pytest.approx((0 - 12 / 16) / 2)


def test_the_class_that_is_asked_for_is_followed_and_one_that_is_not_there_is_refused():
    image, ideal = patched((3, 3))
    found = score_faithfulness(share_left(1), image[None], [0], ideal[None], cells=4, road_photos=0)
    assert found["deletion"]["curves"]["cam"][0] == pytest.approx(0)
    assert found["deletion"]["curves"]["cam"][-1] == pytest.approx(1)
    with pytest.raises(ValueError, match="predict gives 2"):
        score_faithfulness(share_left(1), image[None], [2], ideal[None], cells=4, road_photos=0)
    with pytest.raises(ValueError, match="cells: 64 for images of 32x32"):
        score_faithfulness(share_left(1), image[None], [1], ideal[None], cells=64)
    with pytest.raises(ValueError, match="not finite"):
        score_faithfulness(share_left(1), image[None], [1], ideal[None] * np.nan, cells=4)
    with pytest.raises(ValueError, match="do not fit"):
        score_faithfulness(share_left(1), image[None], [1], ideal[None, 1:], cells=4)


def test_cells_of_equal_value_are_ranked_by_chance_and_the_same_seed_ranks_them_again():
    values = np.array([0.0, 0, 3, 0, 1, 0])
    orders = [rank_cells(values, np.random.default_rng(seed)).tolist() for seed in range(200)]
    assert all(order[:2] == [2, 4] and sorted(order[2:]) == [0, 1, 3, 5] for order in orders)
    third = [order[2] for order in orders]
    assert all(30 < third.count(cell) < 70 for cell in (0, 1, 3, 5))
    assert rank_cells(values, np.random.default_rng(7)).tolist() == orders[7]


def test_a_map_that_says_nothing_is_a_random_order_and_is_counted():
    image, ideal = patched((1, 1), (1, 2))
    images, maps = torch.stack([image] * 60), np.stack([ideal * 0] * 60)
    asked = {"cells": 4, "steps": 16, "road_photos": 0}
    found = score_faithfulness(share_left(2), images, [1] * 60, maps, **asked)
    assert found["flat"] == 60
    assert found["deletion"]["auc"]["cam"]["mean"] == pytest.approx(0.5, abs=0.1)
    low, high = found["deletion"]["cam_minus_random"]["interval"]
    assert low < 0 < high
    again = score_faithfulness(share_left(2), images, [1] * 60, maps, **asked)
    assert json.dumps(found) == json.dumps(again)
    assert again != score_faithfulness(share_left(2), images, [1] * 60, maps, seed=1, **asked)


def test_cells_cover_sides_that_they_do_not_divide():
    maps = np.arange(2 * 10 * 7, dtype=np.float32).reshape(2, 10, 7)
    means = cell_means(maps, 3)
    assert means.shape == (2, 9)
    rows, columns = [range(0, 4), range(4, 7), range(7, 10)], [range(0, 3), range(3, 5), range(5, 7)]
    expected = [[maps[i][np.ix_(r, c)].mean() for r in rows for c in columns] for i in range(2)]
    np.testing.assert_allclose(means, expected)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_imputation_is_that_of_roads_authors(share):
    random = np.random.default_rng(0)
    image = random.standard_normal((3, 20, 27)).astype(np.float32)
    missing = random.random((20, 27)) < share
    missing[:6, :9] = True
    expected = NoisyLinearImputer(noise=0)(torch.tensor(image), torch.tensor(~missing).float())
    np.testing.assert_allclose(impute(image, missing), expected, atol=1e-5)
    with pytest.raises(ValueError, match="every pixel"):
        impute(image, missing | True)


@pytest.mark.parametrize("size", [(48, 40), (150, 100)])
def test_nothing_of_a_removed_cell_is_left_and_nothing_else_is_touched(size):
    random = np.random.default_rng(0)
    image = random.standard_normal((3, *size)).astype(np.float32)
    removed = np.zeros(49, dtype=bool)
    removed[[0, 10, 11, 17, 18, 48]] = True
    where = removed[cells_module.cell_of_pixel(*size, 7)]
    other = np.where(where, 100, image).astype(np.float32)
    filled = impute_cells(image, removed, 7, np.random.default_rng(1))
    np.testing.assert_array_equal(filled, impute_cells(other, removed, 7, np.random.default_rng(1)))
    np.testing.assert_array_equal(filled[:, ~where], image[:, ~where])
    assert np.abs(filled[:, where]).max() < 3.5


def test_road_is_the_librarys_where_no_cells_tie(monkeypatch):
    monkeypatch.setattr(cells_module, "NOISE", 0)
    random = np.random.default_rng(0)
    image = torch.tensor(random.standard_normal((3, SIDE, SIDE)), dtype=torch.float32)
    weights = torch.tensor(random.standard_normal((3, SIDE, SIDE)), dtype=torch.float32)
    values = random.permutation(64) / 64.0
    cam = np.kron(values.reshape(8, 8), np.ones((4, 4))).astype(np.float32)

    def predict(images: Tensor) -> Tensor:
        share = torch.sigmoid((images * weights).sum(dim=(1, 2, 3)) / 30)
        return torch.stack([1 - share, share], dim=1)

    found = score_faithfulness(predict, image[None], [1], cam[None], cells=8)["road"]
    for side, remove in (("morf", RemoveMostRelevantFirst), ("lerf", RemoveLeastRelevantFirst)):
        # these percentiles fall between the same cells as 20% and 40% of 64
        expected = [
            float(predict(remove(percentile, NoisyLinearImputer(noise=0))(image, torch.tensor(cam))[None])[0, 1])
            for percentile in (80, 60)
        ]
        assert found[side]["cam"][:2] == pytest.approx(expected, abs=1e-5)
    difference = np.mean(np.subtract(found["lerf"]["cam"], found["morf"]["cam"]))
    assert found["difference"]["cam"]["mean"] == pytest.approx(difference)
    assert found["difference"]["random"]["mean"] == 0


def test_road_prefers_the_map_that_names_the_evidence_and_is_limited_to_some_photos():
    pairs = [patched((row, column)) for row in range(4) for column in range(3)]
    images, maps = torch.stack([image for image, _ in pairs]), np.stack([ideal for _, ideal in pairs])

    def predict(images: Tensor) -> Tensor:
        share = images[:, 0].mean(dim=(1, 2)).mul(16).clamp(0, 1)
        return torch.stack([1 - share, share], dim=1)

    road = score_faithfulness(predict, images, [1] * 12, maps, cells=4, road_photos=8)["road"]
    assert road["n"] == 8
    assert road["difference"]["cam"]["mean"] > 0.7
    assert road["cam_minus_random"]["interval"][0] > 0.5
    assert road["cam_minus_center"]["interval"][0] > 0


def test_intervals_are_the_t_tests_and_photos_of_one_group_count_once():
    values = np.random.default_rng(0).standard_normal(12)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    alone = mean_interval(values)
    assert alone["mean"] == pytest.approx(values.mean())
    assert alone["interval"] == pytest.approx(list(expected))
    twice = mean_interval(np.repeat(values, 2), [f"group {i // 2}" for i in range(24)])
    assert twice["interval"] == pytest.approx(list(expected))
    assert mean_interval(values, ["one"] * 12) == {"mean": pytest.approx(values.mean()), "interval": None}


def test_groups_widen_the_interval_of_a_score():
    pairs = [patched((row, 0)) for row in range(4)]
    images = torch.stack([image for image, _ in pairs for _ in range(3)])
    maps = np.stack([ideal * (i % 2) for i, (_, ideal) in enumerate(pairs) for _ in range(3)])
    groups = [str(i) for i in range(4) for _ in range(3)]
    asked = {"cells": 4, "steps": 16, "road_photos": 0}
    alone = score_faithfulness(share_left(1), images, [1] * 12, maps, **asked)["deletion"]["auc"]["center"]
    grouped = score_faithfulness(share_left(1), images, [1] * 12, maps, groups, **asked)["deletion"]["auc"]["center"]
    assert grouped["mean"] == alone["mean"]
    assert np.ptp(grouped["interval"]) > 1.2 * np.ptp(alone["interval"])

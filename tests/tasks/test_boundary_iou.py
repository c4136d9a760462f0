"""Boundary IoU against the paper's definition by plain erosions, class by class and image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from streetlab.synthetic import draw_scene
from streetlab.tasks.boundary_iou import BoundaryIoU

K = 19


def band(mask: NDArray[np.bool_], dilation: float) -> NDArray[np.bool_]:
    """The paper's own steps: pad by zeros, erode by 3 x 3 as often as the band is wide, subtract."""
    distance = max(1, round(dilation * math.hypot(*mask.shape)))
    padded = np.pad(mask, 1)
    # beyond the padding cv2.erode takes the highest value, so that the padding alone eats in
    eroded = ndimage.binary_erosion(padded, np.ones((3, 3)), iterations=distance, border_value=1)
    return mask & ~eroded[1:-1, 1:-1]


def by_hand(predictions: NDArray, masks: NDArray, dilation: float) -> list[float]:
    scores = []
    for index in range(K):
        intersection = union = 0
        for prediction, mask in zip(predictions, masks, strict=True):
            counted = mask != 255
            truth, predicted = (band((labels == index) & counted, dilation) for labels in (mask, prediction))
            intersection += (truth & predicted).sum()
            union += (truth | predicted).sum()
        scores.append(intersection / union if union else math.nan)
    return scores


@pytest.fixture(scope="module")
def drawn() -> tuple[NDArray, NDArray]:
    """Masks of drawn streets with ignored pixels, and predictions that are moved and noisy copies of them."""
    masks = np.stack([draw_scene(number, 64, 96).mask for number in range(3)])
    random = np.random.default_rng(0)
    predictions = np.roll(np.where(masks == 255, 0, masks), (1, 2), axis=(1, 2))
    noisy = random.random(masks.shape) < 0.02
    predictions[noisy] = random.integers(0, K, noisy.sum())
    masks[:, 20:30, 40:60] = 255
    return predictions, masks


@pytest.mark.parametrize("dilation", [0.0, 0.02, 0.1])
def test_it_is_the_papers_by_erosion(drawn, dilation: float) -> None:
    predictions, masks = drawn
    metric = BoundaryIoU(K, dilation)
    for rows in (slice(0, 2), slice(2, 3)):  # batches add up
        metric.update(torch.from_numpy(predictions[rows]), torch.from_numpy(masks[rows]).long())
    found, wanted = metric.compute(), by_hand(predictions, masks, dilation)
    assert found["per_class"] == pytest.approx(wanted, nan_ok=True)
    assert found["mean"] == pytest.approx(np.nanmean(wanted))
    assert 0.05 < found["mean"] < 0.95


def test_a_band_as_wide_as_the_image_leaves_plain_iou(drawn) -> None:
    predictions, masks = drawn
    metric = BoundaryIoU(K, 1.0)
    metric.update(torch.from_numpy(predictions), torch.from_numpy(masks).long())
    counted = masks != 255
    plain = [
        ((predictions == k) & (masks == k) & counted).sum()
        / max(1, (((predictions == k) | (masks == k)) & counted).sum())
        for k in range(K)
    ]
    assert [score for score in metric.compute()["per_class"] if score == score] == pytest.approx(
        [score for k, score in enumerate(plain) if ((masks == k) | ((predictions == k) & counted)).any()]
    )


def test_equal_maps_score_one_and_shapes_must_agree() -> None:
    labels = torch.randint(0, K, (2, 20, 30))
    metric = BoundaryIoU(K)
    metric.update(labels, labels)
    assert metric.compute()["mean"] == 1
    with pytest.raises(ValueError, match="twice"):
        metric.update(labels, labels[:1])

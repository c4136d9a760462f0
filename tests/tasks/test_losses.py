"""Losses against cross-entropy itself, and where there is nothing to learn from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from streetlab.tasks.losses import OhemCrossEntropy, RegionAndCrossEntropy

LOSSES = [OhemCrossEntropy(), RegionAndCrossEntropy("dice"), RegionAndCrossEntropy("lovasz")]


@pytest.fixture(params=[(), (6, 5)], ids=["photos", "pixels"])
def batch(request) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(8, 3, *request.param, requires_grad=True)
    labels = torch.randint(0, 3, (8, *request.param))
    labels[0] = 255
    return logits, labels


def test_keeping_all_examples_is_cross_entropy(batch):
    logits, labels = batch
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(OhemCrossEntropy(keep=1.0)(logits, labels), expected)


def test_hard_examples_are_the_ones_with_the_largest_loss(batch):
    logits, labels = batch
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")[labels != 255]
    hardest = each.sort(descending=True).values[: round(0.25 * len(each))]
    torch.testing.assert_close(OhemCrossEntropy(keep=0.25)(logits, labels), hardest.mean())


def test_without_a_region_part_only_cross_entropy_is_left(batch):
    logits, labels = batch
    loss = RegionAndCrossEntropy("dice", region_weight=0.0)(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, ignore_index=255))


@pytest.mark.parametrize("loss", LOSSES, ids=["ohem", "dice", "lovasz"])
def test_a_right_answer_costs_less_than_a_wrong_one(loss, batch):
    _, labels = batch
    right = F.one_hot(labels.clamp(max=2), 3).movedim(-1, 1) * 10.0
    assert loss(right, labels) < 0.1 < loss(-right, labels)


@pytest.mark.parametrize("loss", LOSSES, ids=["ohem", "dice", "lovasz"])
def test_an_all_ignored_batch_is_no_nan(loss, batch):
    logits, labels = batch
    value = loss(logits, torch.full_like(labels, 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().sum() == 0

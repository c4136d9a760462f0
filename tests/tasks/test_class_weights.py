"""Weights by photo counts against scikit-learn and Cui's formula worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from streetlab.errors import UserError
from streetlab.tasks.class_weights import WeightRule, weight_rule
from streetlab.tasks.losses import CrossEntropy


def test_balanced_weights_are_scikit_learns():
    labels = np.repeat([0, 1, 2], [7, 40, 3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weight_rule("balanced").weights([7, 40, 3]) == pytest.approx(expected)


def test_effective_numbers_are_cuis():
    # beta 0.9: one photo counts 1, two 1 + 0.9, three 1 + 0.9 + 0.81; the weights are their inverses, with mean 1
    inverse = np.array([1 / 1, 1 / 1.9, 1 / 2.71])
    assert weight_rule({"effective": 0.9}).weights([1, 2, 3]) == pytest.approx(inverse / inverse.mean())


def test_effective_numbers_lie_between_no_weights_and_inverse_frequencies():
    counts = [50, 200, 400]
    assert WeightRule("effective", 0.0).weights(counts) == pytest.approx([1, 1, 1])
    inverse = 1 / np.array(counts)
    assert WeightRule("effective", 1 - 1e-9).weights(counts) == pytest.approx(inverse / inverse.mean(), rel=1e-4)
    ratio = [rule.weights(counts)[0] / rule.weights(counts)[2] for rule in (WeightRule("effective"),)]
    assert 1 < ratio[0] < 8


def test_a_loss_takes_the_weights_of_its_rule():
    loss = CrossEntropy(class_weights="balanced")
    logits, labels = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3
    loss.weigh([10, 20, 30])
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels, torch.tensor([2.0, 1.0, 2 / 3])))
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("balancd", "'balancd' is not null, balanced, effective or a list; did you mean 'balanced'"),
        ({"effective": 1.0}, "is not {effective: beta} with a beta from 0 to below 1"),
        ({"balanced": 0.5}, "is not {effective: beta}"),
    ],
)
def test_what_is_no_rule_is_refused(value, message):
    with pytest.raises(UserError) as caught:
        CrossEntropy(class_weights=value)
    assert message in str(caught.value)

"""A small classifier and images for the tests of activation maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from streetlab.networks.classifiers import timm_classifier


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return timm_classifier(3, "test_resnet").eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))

"""The faster backward pass of depthwise convolutions: same outputs, and gradients up to the rounding of bf16."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.depthwise import FastDepthwise
from streetlab.training.activation_checkpointing import checkpoint_blocks


def gradients(conv: nn.Conv2d, images: Tensor, fast: bool, low: bool = True) -> tuple[Tensor, list[Tensor]]:
    """Output, and the gradients of images, weights and bias of its weighted sum."""
    images = images.clone().requires_grad_()
    with FastDepthwise() if fast else nullcontext(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        output = conv(images)
    share = torch.linspace(-1, 1, output.numel()).view_as(output)
    return output, list(torch.autograd.grad((output.float() * share).sum(), [images, *conv.parameters()]))


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(3, 2, False), (5, 1, True), (5, 2, False), ((1, 7), 1, True)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_those_of_float32_up_to_rounding(kernel, stride, bias, layout) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(12, 12, kernel, stride, padding=1, bias=bias, groups=12)
    with torch.no_grad():
        conv.weight.copy_(conv.weight.bfloat16())
    images = torch.randn(3, 12, 17, 14).bfloat16().float().contiguous(memory_format=layout)
    output, found = gradients(conv, images, fast=True)
    plain, _ = gradients(conv, images, fast=False)
    _, exact = gradients(conv, images, fast=False, low=False)
    assert "_Depthwise" in str(output.grad_fn)
    assert torch.equal(output, plain)
    assert output.dtype == torch.bfloat16
    for one, other in zip(found, exact, strict=True):
        assert (one - other).norm() < 2**-7 * other.norm()


@pytest.mark.parametrize(
    ("kernel", "groups", "low"), [(3, 12, True), (5, 1, True), (5, 6, True), (5, 12, False)],
    ids=["fast already", "dense", "grouped", "float32"],
)  # fmt: skip
def test_all_other_convolutions_are_left_alone(kernel: int, groups: int, low: bool) -> None:
    conv = nn.Conv2d(12, 12, kernel, groups=groups)
    images = torch.randn(2, 12, 16, 16)
    output, found = gradients(conv, images, fast=True, low=low)
    assert "_Depthwise" not in str(output.grad_fn)
    plain, wanted = gradients(conv, images, fast=False, low=low)
    assert torch.equal(output, plain)
    assert all(map(torch.equal, found, wanted))


def test_it_takes_what_conv2d_takes() -> None:
    images, weight = torch.randn(2, 4, 9, 9), torch.randn(4, 1, 5, 5, requires_grad=True)
    with FastDepthwise(), torch.autocast("cpu", torch.bfloat16):
        for output in (
            F.conv2d(images, weight, None, 1, "same", 1, 4),
            F.conv2d(images, weight, stride=2, groups=4),
            F.conv2d(images, weight[:1].expand(4, 4, 5, 5)),
        ):
            assert output.shape[:2] == (2, 4)
            output.float().sum().backward()
        with torch.no_grad():
            assert F.conv2d(images, weight, None, 2, 2, 1, 4).grad_fn is None


def test_activations_that_are_computed_again_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    network = timm_classifier(3, "test_efficientnet").train()
    images, found = torch.randn(2, 3, 64, 64), []
    for checkpointed in (False, True):
        if checkpointed:
            checkpoint_blocks(network)
        network.zero_grad()
        with FastDepthwise(), torch.autocast("cpu", torch.bfloat16):
            output = network(images)
        output.float().square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    assert all(map(torch.equal, *found))

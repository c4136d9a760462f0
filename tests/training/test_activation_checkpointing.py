"""Activation checkpointing saves memory and changes nothing else: losses, gradients, statistics, keys."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.deeplabv3 import deeplabv3
from streetlab.networks.hrnetv2 import hrnetv2
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.networks.smp_network import smp_network
from streetlab.training.activation_checkpointing import checkpoint_blocks

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet with dropout": lambda: timm_classifier(3, "resnet18", dropout=0.5),
    "hrnet": lambda: hrnetv2(19, 18, small=True),
    "deeplab": lambda: deeplabv3(19),
    "unet": lambda: smp_network(19, "unet", "resnet18"),
    "efficientnet with drop path": lambda: timm_classifier(3, "efficientnet_b0", drop_path_rate=0.2),
    "transformer": lambda: timm_classifier(3, "vit_tiny_patch16_224", img_size=64),
}


def held_bytes(network: nn.Module, images: Tensor) -> tuple[Tensor, int]:
    """A training step's loss, backward pass included, and the bytes of activations that it kept for that."""
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(images)
        parts = [part for part in output if part is not None] if isinstance(output, SegmentationOutput) else [output]
        loss = torch.stack([part.square().mean() for part in parts]).sum()
    total = sum(size for place, size in kept.items() if place not in weights)
    loss.backward()
    return loss.detach(), total


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "deeplab" else name for name in NETWORKS]
)
def test_it_keeps_less_and_changes_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    plain = NETWORKS[name]().train()
    saving = copy.deepcopy(plain)
    checkpoint_blocks(saving)
    saving = copy.deepcopy(saving)  # as averaging of weights does
    images = torch.randn(2, 3, 64, 64)
    loss, much = held_bytes(plain, images)
    same_loss, less = held_bytes(saving, images)
    assert less < 0.75 * much
    assert torch.equal(loss, same_loss)
    assert plain.state_dict().keys() == saving.state_dict().keys()
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, saving.state_dict()[key]), f"{key} was updated twice"
    for (key, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), key
        assert one.grad is None or torch.equal(one.grad, other.grad), key


def test_nothing_is_computed_twice_outside_of_training() -> None:
    network = timm_classifier(3, "test_resnet")
    checkpoint_blocks(network)
    calls = []
    network.get_submodule("layer1.0").get_submodule("conv1").register_forward_hook(lambda *_: calls.append(1))
    network.eval()(torch.randn(1, 3, 32, 32)).sum().backward()  # as an activation map does
    assert len(calls) == 1
    network.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert len(calls) == 3, "a training step did not compute the block again"


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.checkpointing: Linear has no row of blocks"):
        checkpoint_blocks(nn.Linear(2, 2))

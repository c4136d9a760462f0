"""Grad-CAM: right by hand computation, raw, and without a trace on the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.networks.cam import METHODS, class_activation
from streetlab.networks.classifiers import timm_classifier


def by_hand(network: Any, images: Tensor, classes: list[int], stage: str) -> Tensor:
    """Selvaraju et al.'s equations 1 and 2 with hooks of our own, one image at a time."""
    maps = []
    for image, label in zip(images, classes, strict=True):
        kept: list[Tensor] = []
        handle = network.get_submodule(stage).register_forward_hook(lambda m, i, out, kept=kept: kept.append(out))
        logits = network(image[None].requires_grad_())
        handle.remove()
        (gradient,) = torch.autograd.grad(logits[0, label], kept[0])
        places, channels = ((1, 2), 3) if getattr(network, "output_fmt", "") == "NHWC" else ((2, 3), 1)
        weights = gradient.mean(dim=places, keepdim=True)
        maps.append((weights * kept[0]).sum(dim=channels)[:, None].relu().detach())
    return F.interpolate(torch.cat(maps), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


SWIN = {"img_size": (64, 96), "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}


@pytest.mark.parametrize(
    ("name", "stage", "options"),
    [
        ("test_resnet", "layer4", {}),
        ("test_convnext", "stages.3", {}),
        ("swin_tiny_patch4_window7_224", "layers.3", SWIN),  # its channels come last
    ],
)
def test_maps_are_those_of_the_paper_image_by_image(images, name, stage, options):
    torch.manual_seed(0)
    network = timm_classifier(3, name, **options).eval()
    maps = class_activation(network, images, [0, 2, 1])
    expected = by_hand(network, images, [0, 2, 1], stage)
    assert maps.shape == (3, 64, 96)
    assert maps.dtype == torch.float32
    assert expected.max() > 0
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6 * float(expected.max()))


def test_maps_are_raw_so_that_they_can_be_compared(network, images):
    peaks = class_activation(network, images, [1, 1, 1]).amax(dim=(1, 2))
    assert len(set(peaks.tolist())) == 3
    assert float(peaks.max()) != pytest.approx(1)


def test_a_frozen_network_in_inference_mode_has_maps_too(network, images):
    expected = class_activation(network, images, [0, 1, 2])
    network.requires_grad_(False)
    try:
        with torch.inference_mode():
            maps = class_activation(network, images + 0, torch.tensor([0, 1, 2]))
    finally:
        network.requires_grad_(True)
    torch.testing.assert_close(maps, expected)


def test_the_network_is_left_as_it_was_in_the_middle_of_a_training(images):
    network = timm_classifier(3, "test_resnet", dropout=0.5)
    network.train()
    network.get_submodule("layer1").eval()
    network.get_submodule("layer2").requires_grad_(False)
    network(images).sum().backward()
    modes = [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    hooks = [len(module._forward_hooks) for module in network.modules()]
    first = class_activation(network, images, [0, 1, 2])

    assert torch.equal(first, class_activation(network, images, [0, 1, 2])), "dropout or BatchNorm was on"
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert (parameter.grad is None) if gradient is None else torch.equal(parameter.grad, gradient)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert not images.requires_grad


@pytest.mark.parametrize("classes", [[0, 1, 3], [0, 1, -1], [0, 1]])
def test_a_class_that_is_not_there_is_no_empty_map(network, images, classes):
    with pytest.raises(ValueError, match="classes"):
        class_activation(network, images, classes)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_networks_without_a_feature_map_are_named(network, images):
    with pytest.raises(UserError, match=r"'fc' of ResNet makes no feature map \(its output is of shape \(3, 3\)"):
        class_activation(network, images, [0, 1, 2], layer="fc")
    with pytest.raises(UserError, match=r"Sequential declares no cam_layer.*layer="):
        class_activation(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), images, [0, 1, 2])


class Planted(nn.Module):
    """Class 1 is how much red there is, class 0 how much green."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
        with torch.no_grad():
            self.features[0].weight.copy_(torch.tensor([[-1.0, 1, -1], [1, -1, -1]])[..., None, None])
            self.features[0].bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean(dim=(2, 3))


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_a_planted_patch_peaks_on_the_patch(method):
    images = torch.zeros(2, 3, 32, 48)
    images[0, 0, 4:12, 30:40] = 1
    images[1, 0, 20:30, 5:9] = 1
    maps = class_activation(Planted(), images, [1, 1], method, "features")
    for image, found in zip(images, maps, strict=True):
        assert found.max() > 0
        assert float(found[image[0] == 0].abs().max()) < 1e-6 * float(found.max())
        assert (found[image[0] == 1] > 0.99 * found.max()).all()
    if "eigen" not in method and method != "score_cam":  # these know no class, or none of its weights is 0
        assert class_activation(Planted(), images, [0, 0], method, "features").max() == 0

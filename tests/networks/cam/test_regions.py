"""Activation maps of a class in a region, for the segmentation networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from streetlab.networks.cam import METHODS, class_activation, find_layer, region_activation
from streetlab.networks.deeplabv3 import deeplabv3
from streetlab.networks.hrnetv2 import hrnetv2
from streetlab.networks.segmentation import SegmentationOutput, pad_to_multiple
from streetlab.networks.smp_network import smp_network

SIZE = (70, 90)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def regions() -> Tensor:
    regions = torch.zeros(2, *SIZE, dtype=torch.bool)
    regions[0, 5:30, 10:50] = True
    regions[1, 40:, 60:] = True
    return regions


def test_a_regions_map_is_captums_on_a_frozen_network_too(images, regions):
    torch.manual_seed(0)
    network = deeplabv3(4).eval()

    def score(batch: Tensor) -> Tensor:
        return (network(batch).logits[torch.arange(2), torch.tensor([1, 3])] * regions).sum(dim=(1, 2))

    expected = LayerGradCam(score, network.backbone.layer4).attribute(images, relu_attributions=True)
    expected = F.interpolate(expected.detach(), SIZE, mode="bilinear", align_corners=False)[:, 0]
    assert find_layer(network) == "backbone.layer4"
    assert expected.max() > 0
    for frozen in (False, True):
        network.requires_grad_(not frozen)
        with torch.inference_mode(frozen):
            found = region_activation(network, images, [1, 3], regions)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (lambda: hrnetv2(4, 18, small=True), "backbone.stage4.0.branches.3"),
        (lambda: smp_network(4, "unet", "resnet18"), "model.encoder.layer4"),
        (lambda: smp_network(4, "unet", "tu-test_convnext"), "model.encoder.model.stages_3"),
    ],
)
def test_a_map_covers_the_image_where_the_network_pads_it(images, regions, network, layer):
    torch.manual_seed(0)
    network = network().eval()
    padded = pad_to_multiple(images, 32)
    wider = F.pad(regions, (0, padded.shape[-1] - SIZE[1], 0, padded.shape[-2] - SIZE[0]))
    expected = region_activation(network, padded, [1, 3], wider)[:, : SIZE[0], : SIZE[1]]
    found = region_activation(network, images, [1, 3], regions)
    assert find_layer(network) == layer
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


class Painter(nn.Module):
    """Class 1 where it is red, class 2 where it is green, of features that are the colours themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[[2, 0, 1]][..., None, None])

    def forward(self, images: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.features(images))


@pytest.mark.parametrize("method", METHODS)
def test_without_a_region_it_is_where_the_class_is_predicted(method):
    images = torch.zeros(2, 3, 16, 24)
    images[:, 2] = 0.1
    images[0, 0, 2:6, 3:9] = 1
    images[1, 1, 8:12, 10:20] = 1
    predicted = images[:, 0] == 1
    network = Painter()
    found = region_activation(network, images, [1, 1], None, method, "features")
    expected = region_activation(network, images, [1, 1], predicted, method, "features")
    torch.testing.assert_close(found, expected)
    assert found[0][predicted[0]].min() > 0
    assert not found[1].any(), "the second image has no red"


def test_what_does_not_fit_is_refused(images, regions):
    with pytest.raises(ValueError, match="regions"):
        region_activation(Painter(), images, [1, 2], regions[:, :-1], layer="features")
    with pytest.raises(ValueError, match=r"classes \[1, 3\]: the network has 3"):
        region_activation(Painter(), images, [1, 3], regions, layer="features")
    with pytest.raises(ValueError, match="use region_activation"):
        class_activation(Painter(), images, [1, 2], layer="features")

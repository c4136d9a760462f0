"""A plain `nn.Module` becomes a network of streetlab without a line of its code changed."""

import pytest
import torch
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.cam import find_layer
from streetlab.networks.contract import adopt
from streetlab.networks.groups import select_parameters
from streetlab.networks.segmentation import SegmentationOutput


class Plain(nn.Module):
    def __init__(self, form=lambda logits: logits) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 5, 1)
        self.form = form

    def forward(self, images):
        return self.form(self.last(self.norm(self.stem(images))))


FORMS = {
    "tensor": lambda logits: logits,
    "torchvision": lambda logits: {"out": logits, "aux": 2 * logits},
    "ours": SegmentationOutput,
}


@pytest.mark.parametrize("form", FORMS)
def test_pixel_logits_of_any_size_and_form_are_those_of_the_images(form):
    network = Plain(FORMS[form]).eval()
    images = torch.randn(2, 3, 32, 48)
    coarse = network.last(network.norm(network.stem(images)))
    keys = list(network.state_dict())
    adopt(network, "segmentation")
    output = network(images)
    assert isinstance(output, SegmentationOutput)
    expected = nn.functional.interpolate(coarse, size=(32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.logits, expected)
    if form == "torchvision":
        torch.testing.assert_close(output.aux, 2 * expected)
    assert list(network.state_dict()) == keys


def test_the_head_is_the_last_linear_or_convolution_layer_and_is_said():
    network = Plain()
    assert adopt(network, "segmentation") == [
        "Plain declares no parameter_groups: its head is last, the rest its backbone"
    ]
    assert [name for name, _ in select_parameters(network, ["head"])] == ["last.weight", "last.bias"]
    assert {name for name, _ in select_parameters(network, ["backbone"])} == {
        "stem.weight", "stem.bias", "norm.weight", "norm.bias",
    }  # fmt: skip
    with pytest.raises(
        UserError, match=r"no parameter of Plain is called 'layer4'; groups: head, stem, norm, backbone"
    ):
        select_parameters(network, ["layer4"])


def test_what_a_network_declares_is_left_alone():
    network = Plain()
    network.task, network.parameter_groups = "segmentation", {"head": ("stem",), "backbone": ("norm", "last")}
    assert adopt(network, "segmentation") == []
    assert isinstance(network(torch.zeros(1, 3, 8, 8)), torch.Tensor)
    assert network.parameter_groups["head"] == ("stem",)


def test_a_network_without_layers_or_with_another_output_is_one_line():
    with pytest.raises(UserError, match="BatchNorm2d has no linear or convolution layer that could be its head"):
        adopt(nn.BatchNorm2d(3), "classification")
    network = Plain()
    adopt(network, "classification")
    with pytest.raises(UserError, match=r"Plain gives a tensor \(1, 5, 2, 2\); logits \(B, K\), a tensor, are needed"):
        network(torch.zeros(1, 3, 8, 8))


def test_maps_are_of_the_last_convolution_before_the_head():
    network = Plain()
    adopt(network, "segmentation")
    assert find_layer(network) == "stem"
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Linear(4, 2))
    adopt(linear, "classification")
    with pytest.raises(UserError, match=r"layer: Sequential declares no cam_layer .* name a layer with layer=, such"):
        find_layer(linear)

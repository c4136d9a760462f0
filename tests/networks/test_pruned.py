"""Narrower layers: what the original's description and a list of sizes make, and which sizes are refused."""

import pytest
import torch
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.groups import select_parameters
from streetlab.networks.pruned import pruned, resize, sizes


class EveryKind(nn.Module):
    """One layer of each kind that has a size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 1, groups=2)
        self.gn = nn.GroupNorm(2, 12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.norm = nn.LayerNorm(6)
        self.fc = nn.Linear(6, 2)

    def forward(self, images):
        features = self.gn(self.grouped(self.bn(self.depthwise(self.conv(images)))))
        return self.fc(self.norm(self.up(features).mean(dim=(2, 3))))


CHANNELS = {
    "conv": "4x3",
    "depthwise": "4x4",
    "bn": 4,
    "grouped": "6x4",
    "gn": 6,
    "up": "3x6",
    "norm": 3,
    "fc": "2x3",
}


def test_layers_of_every_kind_get_their_sizes_and_still_fit_together() -> None:
    network = EveryKind()
    resize(network, CHANNELS)
    assert sizes(network) == CHANNELS
    assert network.depthwise.groups == 4
    assert network.depthwise.weight.shape == (4, 1, 3, 3)
    assert network.grouped.weight.shape == (6, 2, 1, 1)
    assert network.up.weight.shape == (6, 3, 2, 2)
    assert network.bn.running_mean.shape == (4,)
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 2)


def test_a_file_of_the_narrow_network_fills_it(tmp_path) -> None:
    def original(num_classes: int) -> nn.Module:
        return timm_classifier(num_classes, "test_resnet")

    channels = {"layer1.0.conv1": "16x32", "layer1.0.bn1": 16, "layer1.0.conv2": "32x16"}
    narrow = pruned(3, original, channels)
    torch.save(narrow.state_dict(), tmp_path / "narrow.pt")
    filled = pruned(3, original, channels, weights=tmp_path / "narrow.pt").eval()
    images = torch.randn(2, 3, 40, 56)
    assert torch.equal(filled(images), narrow.eval()(images))
    assert len(filled.load_report.loaded) == len(narrow.state_dict())
    assert filled.task == "classification"
    assert {name for name, _ in select_parameters(filled, ["layer1"])} >= {"layer1.0.conv1.weight"}


@pytest.mark.parametrize(
    ("channels", "line"),
    [
        ({"convv": "4x3"}, "no layer 'convv' with channels; did you mean 'conv'?"),
        ({"conv": "9x3"}, "model.channels.conv: 9x3 is no size within the layer's own, 8x3"),
        ({"conv": "0x3"}, "0x3 is no size"),
        ({"conv": 4}, "model.channels.conv: 4 is no size within the layer's own, 8x3"),
        ({"bn": "many"}, "model.channels.bn: many is no size within the layer's own, 8"),
        ({"grouped": "5x4"}, "model.channels.grouped: 5x4 cannot be parted into the layer's groups"),
        ({"gn": 7}, "model.channels.gn: 7 cannot be parted into the layer's groups"),
    ],
)
def test_a_size_that_no_layer_can_have_is_one_line(channels, line) -> None:
    with pytest.raises(UserError, match=line.replace("?", r"\?")):
        pruned(2, lambda num_classes: EveryKind(), channels)

"""Which channels go: what is dead goes without a trace, what is left works, and what cannot be pruned is named."""

import copy
import sys

import pytest
import torch
from torch import nn

from streetlab.compress.prune import Pruning, prune, rounded
from streetlab.compress.recipe import pruned_model, rebuilt
from streetlab.config import instantiate
from streetlab.errors import UserError
from streetlab.networks.cost import macs, parameter_count
from streetlab.networks.segmentation import SegmentationOutput

HALF = Pruning(0.5, "magnitude", "uniform", 8)
TIMM = {"_target_": "streetlab.networks.classifiers.timm_classifier", "_partial_": True}
NETWORKS = {
    "resnet": TIMM | {"name": "test_resnet"},
    "hrnet": {"_target_": "streetlab.networks.hrnetv2.hrnetv2", "_partial_": True, "width": 18, "small": True},
    "linknet": {
        "_target_": "streetlab.networks.smp_network.smp_network",
        "_partial_": True,
        "decoder": "linknet",
        "encoder": "tu-test_resnet",
    },
}
LARGER = {
    "deeplabv3": {"_target_": "streetlab.networks.deeplabv3.deeplabv3", "_partial_": True, "backbone": "resnet50"},
    "depthwise": TIMM | {"name": "efficientnet_b0"},
    "grouped": TIMM | {"name": "resnext50_32x4d"},
    "unet": NETWORKS["linknet"] | {"decoder": "unet", "encoder": "resnet18"},
    "fpn": NETWORKS["linknet"] | {"decoder": "fpn", "encoder": "mobilenet_v2"},
}


def build(model: dict, num_classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(model)(num_classes=num_classes).eval()


def logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output = network(images)
    return output.logits if isinstance(output, SegmentationOutput) else output


def check_half_pruned(model: dict, scope: str) -> None:
    network = build(model)
    original = copy.deepcopy(network)
    pruning = Pruning(0.5, "magnitude", scope, 8)
    channels = prune(network, 5, (64, 96), pruning)
    node = pruned_model(model, channels, pruning)
    again = rebuilt(node, network, 5, channels_last=False)
    images = torch.randn(2, 3, 97, 131)
    assert torch.allclose(logits(again, images), logits(network, images), atol=1e-5)
    assert logits(again, images).shape == logits(original, images).shape
    assert parameter_count(again) < 0.4 * parameter_count(original)
    assert macs(again, (64, 96)) < 0.4 * macs(original, (64, 96))
    assert again.parameter_groups == original.parameter_groups
    assert again.state_dict().keys() == original.state_dict().keys()


@pytest.mark.parametrize(("name", "scope"), [("resnet", "global"), ("hrnet", "uniform"), ("linknet", "uniform")])
def test_a_pruned_network_is_rebuilt_from_its_description(name: str, scope: str) -> None:
    check_half_pruned(NETWORKS[name], scope)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGER)
def test_larger_networks_are_rebuilt_too(name: str) -> None:
    check_half_pruned(LARGER[name], "uniform")


class Plain(nn.Module):
    """Convolutions of 8 channels with a residual connection; those numbered in `dead` do nothing.

    The others are told apart, so that the dead ones are the least important whatever importance goes by.
    """

    def __init__(self, dead: tuple[int, ...]) -> None:
        super().__init__()
        self.parameter_groups = {"head": ("last",), "all": ("first", "norm", "second", "again", "last")}
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.again = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 2, 1)
        with torch.no_grad():
            for layer in (self.first, self.norm, self.second, self.again):
                layer.weight[list(dead)] = 0

    def forward(self, images):
        features = self.norm(self.first(images)).relu()
        return self.last((features + self.again(self.second(features))).relu())


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "bn_scale"])
@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_channels_that_do_nothing_are_the_ones_that_go(importance: str, scope: str) -> None:
    torch.manual_seed(0)
    network = Plain(dead=(1, 2, 4, 7))
    network.train()(torch.randn(4, 3, 16, 16))
    network.eval()
    images = torch.randn(2, 3, 16, 16)
    expected = logits(network, images)
    if importance == "taylor":
        network(images).square().mean().backward()
    channels = prune(network, 2, (16, 16), Pruning(0.5, importance, scope, 1))
    assert channels == {"first": "4x3", "norm": 4, "second": "4x4", "again": 4, "last": "2x4"}
    assert torch.allclose(logits(network, images), expected, atol=1e-6)


def test_no_layer_loses_all_its_channels_to_the_ranking_of_all() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 40, 1), nn.ReLU(), nn.Conv2d(40, 40, 1), nn.ReLU(), nn.Conv2d(40, 2, 1))
    network.parameter_groups = {"head": ("4",)}
    with torch.no_grad():
        network[0].weight[1:] *= 1e-3  # relative to the mean of the layer nearly all of it is small
        network[2].weight[:, 1:] *= 1e-3
    channels = prune(network, 2, (8, 8), Pruning(0.5, "magnitude", "global", 1))
    assert channels["0"] == "4x3"


@pytest.mark.parametrize(
    ("wanted", "channels", "multiple", "kept"),
    [(9, 18, 8, 8), (18, 36, 8, 16), (20, 40, 8, 24), (3, 16, 8, 8), (6, 6, 8, 6), (0, 100, 1, 10), (7, 30, 1, 7)],
)
def test_layers_keep_a_multiple(wanted: int, channels: int, multiple: int, kept: int) -> None:
    assert rounded(wanted, channels, multiple) == kept


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (TIMM | {"name": "test_convnext"}, r"can't be pruned: its layer stages.0.blocks.0 \(ConvNeXtBlock\) does not"),
        (TIMM | {"name": "test_vit"}, r"can't be pruned: its layer blocks.0.attn \(Attention\) does not take fewer"),
    ],
)
def test_a_layer_that_does_not_take_fewer_channels_is_named(model: dict, line: str) -> None:
    network = build(model)

    def compress() -> None:
        channels = prune(network, 5, (160, 160), HALF)
        rebuilt(pruned_model(model, channels, HALF), network, 5, channels_last=False)

    with pytest.raises(UserError, match=line):
        compress()


def test_a_ratio_too_small_for_any_layer_is_one_line() -> None:
    with pytest.raises(UserError, match=r"ratio: at 0\.01 with round_to=8 no layer of test_resnet loses a channel"):
        prune(build(NETWORKS["resnet"]), 5, (64, 64), Pruning(0.01, "magnitude", "uniform", 8))


def test_an_importance_that_knows_none_of_the_layers_is_one_line() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1))
    network.parameter_groups = {"head": ("1",)}
    with pytest.raises(UserError, match="importance=bn_scale can't rank the channels of Sequential; allowed: magni"):
        prune(network, 2, (8, 8), Pruning(0.5, "bn_scale", "uniform", 1))


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UserError, match=r"torch-pruning is not installed \(pip install 'streetlab\[export\]'\)"):
        prune(build(NETWORKS["resnet"]), 5, (64, 64), HALF)


def test_pruning_twice_is_described_as_one() -> None:
    model = NETWORKS["resnet"]
    network = build(model)
    first = pruned_model(model, prune(network, 5, (64, 64), HALF), HALF)
    narrow = rebuilt(first, network, 5, channels_last=False)
    second = pruned_model(first, prune(narrow, 5, (64, 64), HALF), HALF)
    assert second["network"] == first["network"]
    assert second["pruning"]["after"] == first["pruning"]
    again = rebuilt(second, narrow, 5, channels_last=False)
    images = torch.randn(1, 3, 64, 64)
    assert torch.allclose(logits(again, images), logits(narrow, images), atol=1e-5)

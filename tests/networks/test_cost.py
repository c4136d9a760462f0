"""Cost figures: torchvision's published ones are the oracle, and measuring leaves no trace."""

import copy

import pytest
import torch
import torchvision

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.cost import describe, macs, parameter_count
from streetlab.networks.groups import freeze_except, set_training_mode

torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "oracle"), [("resnet18", "ResNet18_Weights"), ("resnet50", "ResNet50_Weights")])
def test_parameters_and_macs_are_those_that_torchvision_publishes(name, oracle):
    meta = getattr(torchvision.models, oracle).IMAGENET1K_V1.meta
    network = timm_classifier(1000, name)
    cost = describe(network, (224, 224))
    assert cost["parameters"] == meta["num_params"] == parameter_count(network)
    assert cost["gmacs"] == pytest.approx(meta["_ops"], rel=0.01)  # torchvision counts these as GFLOPS


def test_macs_follow_the_image_size_and_height_comes_first():
    network = timm_classifier(3, "resnet18")
    assert macs(network, (128, 64)) == pytest.approx(2 * macs(network, (64, 64)), rel=0.01)
    vit = timm_classifier(3, "vit_tiny_patch16_224", img_size=(32, 64))
    assert macs(vit, (32, 64)) > 0
    with pytest.raises(UserError, match="does not take images of 64×32"):
        macs(vit, (64, 32))


def test_measuring_changes_nothing():
    network = timm_classifier(3, "resnet18")
    freeze_except(network, ["head"])
    set_training_mode(network, ["head"])
    modes = [module.training for module in network.modules()]
    state = copy.deepcopy(network.state_dict())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert describe(network, (64, 64))["trainable_parameters"] == 3 * 512 + 3
    assert torch.equal(torch.rand(1), expected)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())

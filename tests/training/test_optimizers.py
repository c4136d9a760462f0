"""Learning rates of layers against timm's own scales, and of groups within them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.groups import freeze_except
from streetlab.training.optimizers import parameter_groups
from streetlab.training.phases import PhaseSchedule


def rates(network: nn.Module, groups: list[dict]) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "vit_tiny_patch16_224"])
def test_layers_have_the_rates_that_timm_gives_them(name):
    with torch.device("meta"):
        network = timm_classifier(3, name)
    groups = parameter_groups(network, ["all"], 0.01, layer_decay=0.75)
    theirs = [
        {"params": group["params"], "lr": 0.01 * group["lr_scale"]}
        for group in param_groups_layer_decay(network, layer_decay=0.75)
    ]
    found = rates(network, groups)
    assert found == pytest.approx(rates(network, theirs))
    assert found.keys() == dict(network.named_parameters()).keys()
    assert max(found.values()) == found[f"{network.pretrained_cfg['classifier']}.weight"] == 0.01
    assert len({group["name"] for group in groups}) == len(groups) == len(set(found.values()))


def test_a_factor_of_a_group_multiplies_and_frozen_layers_have_no_rate():
    network = timm_classifier(3, "test_resnet")
    freeze_except(network, ["layer4", "head"])
    regime = PhaseSchedule(
        [{"name": "tune", "epochs": 1, "train": ["layer4", "head"], "lr_scale": {"head": 10.0}}],
        partial(torch.optim.SGD, lr=0.1),
        layer_decay=0.5,
    )
    found = rates(network, regime.build_optimizer(regime.phase, network).param_groups)
    assert {name.split(".")[0] for name in found} == {"layer4", "fc"}
    assert found["fc.weight"] == pytest.approx(1.0)
    assert {rate for name, rate in found.items() if name.startswith("layer4")} == {0.05}


def test_networks_without_named_layers_and_factors_above_1_are_refused():
    phases = [{"name": "train", "epochs": 1, "train": ["all"]}]
    with pytest.raises(UserError, match=r"regime\.layer_decay: 1.5 is not a factor above 0 and at most 1"):
        PhaseSchedule(phases, partial(torch.optim.SGD, lr=0.1), layer_decay=1.5)
    with pytest.raises(UserError, match=r"regime\.layer_decay: Sequential names no layers, as timm's classifiers do"):
        PhaseSchedule(phases, partial(torch.optim.SGD, lr=0.1), layer_decay=0.5).check(nn.Sequential(nn.Linear(2, 2)))

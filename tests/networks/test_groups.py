"""Parameter groups and freezing: what is called frozen must not change by a bit."""

import copy

import pytest
import torch
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.groups import (
    classifier_groups,
    freeze_except,
    modules_to_keep_in_eval,
    select_parameters,
    set_training_mode,
)

torch.set_num_threads(1)

HEADS = {
    "resnet18": ("fc",),
    "convnext_atto": ("head.fc",),
    "vit_tiny_patch16_224": ("head",),
    "mobilenetv3_small_050": ("classifier",),
    "efficientnet_b0": ("classifier",),
    "swin_tiny_patch4_window7_224": ("head.fc",),
    "deit_tiny_distilled_patch16_224": ("head", "head_dist"),
    "selecsls42b": ("fc",),  # whose backbone has a part called head
    "levit_128s": ("head.linear", "head_dist.linear"),
}


def names_of(network, *names):
    return {name for name, _ in select_parameters(network, names)}


def training_modules(network):
    return {name for name, module in network.named_modules() if module.training}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_every_parameter_is_in_exactly_one_of_head_and_backbone(name, head):
    with torch.device("meta"):
        network = timm_classifier(3, name)
    groups = network.parameter_groups
    assert groups["head"] == head
    everything = {name for name, _ in network.named_parameters()}
    in_head, in_backbone = names_of(network, "head"), names_of(network, "backbone")
    assert in_head
    assert not in_head & in_backbone
    assert in_head | in_backbone == everything == names_of(network, "all")
    assert all(names_of(network, group) for group in groups)
    assert modules_to_keep_in_eval(network, ["all"]) == []


def test_long_rows_of_blocks_can_be_named_one_by_one():
    with torch.device("meta"):
        vit, convnext = timm_classifier(3, "vit_tiny_patch16_224"), timm_classifier(3, "convnext_atto")
    assert vit.parameter_groups["blocks.11"] == ("blocks.11",)
    assert {"cls_token", "pos_embed"} <= set(vit.parameter_groups["backbone"])
    assert names_of(convnext, "stages.3") < names_of(convnext, "stages")
    assert timm_classifier(3, "resnet18").parameter_groups["stem"] == ("conv1", "bn1")


def test_names_are_united_without_repeats_in_the_networks_order():
    network = timm_classifier(3, "resnet18")
    chosen = select_parameters(network, ["head", "layer4", "layer4.1.conv1", "fc"])
    names = [name for name, _ in chosen]
    assert names == [n for n, _ in network.named_parameters() if n.startswith(("layer4.", "fc."))]
    assert names_of(network, "layer1.0.bn1") == {"layer1.0.bn1.weight", "layer1.0.bn1.bias"}


@pytest.mark.parametrize("name", ["layer5", "heads", "layer", "global_pool", ""])
def test_a_name_that_matches_nothing_is_refused_and_changes_nothing(name):
    network = timm_classifier(3, "resnet18")
    for act in (select_parameters, freeze_except, set_training_mode):
        with pytest.raises(UserError, match=rf"called '{name}'.* groups: head, stem, conv1"):
            act(network, ["head", name])
    assert all(p.requires_grad for p in network.parameters())


def test_the_nearest_group_is_named():
    with pytest.raises(UserError, match="did you mean 'layer4'"):
        select_parameters(timm_classifier(3, "resnet18"), ["layer4x"])


def test_networks_may_declare_their_own_groups():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network.parameter_groups = {"head": ("1",), "backbone": ("0",)}
    assert names_of(network, "head") == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("name", "train", "size"),
    [
        ("resnet18", ["head"], 32),
        ("resnet18", ["layer4", "head"], 32),
        ("convnext_atto", ["stages.3", "head"], 32),
        ("mobilenetv3_small_050", ["head"], 32),
        ("vit_tiny_patch16_224", ["blocks.11", "head"], 224),
    ],
)
def test_frozen_tensors_stay_bit_equal_through_optimizer_steps(name, train, size):
    torch.manual_seed(0)
    network = timm_classifier(3, name, dropout=0.2)
    chosen = freeze_except(network, train)
    names = {name for name, _ in chosen}
    assert {name for name, p in network.named_parameters() if p.requires_grad} == names
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.AdamW([p for _, p in chosen], lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        set_training_mode(network, train)
        loss = network(torch.randn(2, 3, size, size)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prefixes = {name.rpartition(".")[0] for name in names}
    for key, value in network.state_dict().items():
        if key.rpartition(".")[0] in prefixes:
            assert not torch.equal(value, before[key]), f"{key} should train"
        else:
            assert torch.equal(value, before[key]), f"{key} should be frozen"


def test_a_frozen_backbone_gives_the_same_features_while_the_heads_dropout_is_on():
    torch.manual_seed(0)
    options = {"img_size": 64, "pos_drop_rate": 0.3, "proj_drop_rate": 0.3, "drop_path_rate": 0.3}
    network = timm_classifier(3, "vit_tiny_patch16_224", dropout=0.5, **options)
    set_training_mode(network, ["head"])
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.forward_features(images), network.forward_features(images))
        assert not torch.equal(network(images), network(images))
    assert "head_drop" in training_modules(network)
    assert not any(name.startswith(("blocks", "pos_drop")) for name in training_modules(network))


def test_dropout_follows_the_layer_it_feeds_where_a_parent_is_half_frozen():
    options = {"pos_drop_rate": 0.3, "drop_path_rate": 0.3}
    with torch.device("meta"):
        network = timm_classifier(3, "vit_tiny_patch16_224", dropout=0.5, **options)
    set_training_mode(network, ["blocks.11", "head"])
    training = training_modules(network)
    assert {"head_drop", "head", "blocks.11.drop_path1", "blocks.11.drop_path2"} <= training
    assert not training & {"pos_drop", "blocks.10", "blocks.10.drop_path2", "patch_embed"}
    set_training_mode(network, ["blocks.11"])
    assert not training_modules(network) & {"head_drop", "head"}


def test_modes_are_decided_anew_in_each_phase():
    network = timm_classifier(3, "resnet18")
    set_training_mode(network.eval(), ["head"])
    assert not network.layer4[0].bn1.training
    set_training_mode(network, ["layer4", "head"])
    assert network.layer4[0].bn1.training
    assert not network.layer3[0].bn1.training
    set_training_mode(network, ["all"])
    assert all(module.training for module in network.modules())


def test_batchnorm_without_parameters_is_frozen_too():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(4, 2))
    network.parameter_groups = {"head": ("3",), "backbone": ("0", "1")}
    set_training_mode(network, ["head"])
    assert [m.training for m in network] == [False, False, True, True]
    set_training_mode(network, ["backbone"])
    assert [m.training for m in network] == [True, True, False, False]


def test_a_network_without_a_classifier_is_one_clear_line():
    with pytest.raises(UserError, match="Conv2d has no classifier"):
        classifier_groups(nn.Conv2d(3, 4, 1))

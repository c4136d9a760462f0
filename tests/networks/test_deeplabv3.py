"""DeepLabV3: torchvision is the oracle, and whatever file a user has of it loads or is refused in one line."""

import copy
import pickle
import urllib.error

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50, deeplabv3_resnet101

from streetlab.errors import UserError
from streetlab.networks.cost import describe
from streetlab.networks.deeplabv3 import deeplabv3
from streetlab.networks.groups import modules_to_keep_in_eval, select_parameters
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

torch.set_num_threads(1)

THEIRS = {"resnet50": deeplabv3_resnet50, "resnet101": deeplabv3_resnet101}
SIZES = [(33, 47), (64, 64), (100, 37)]


def torchvisions(backbone, num_classes, aux):
    """The original of torchvision network with statistics that a wrongly loaded BatchNorm would betray."""
    torch.manual_seed(1)
    network = THEIRS[backbone](weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=aux)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def r50():
    return torchvisions("resnet50", 21, aux=True)


@pytest.fixture(scope="module")
def r50_file(r50, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "deeplabv3.pth"
    torch.save(r50.state_dict(), file)
    return file


@pytest.mark.parametrize(
    ("backbone", "aux", "parameters", "gmacs"),
    [
        ("resnet50", True, 42_003_046, 86.6),
        ("resnet50", False, 39_638_355, None),
        ("resnet101", True, 60_995_174, 125.4),
        ("resnet101", False, 58_630_483, None),
    ],
)
def test_the_cost_is_the_published_one(backbone, aux, parameters, gmacs):
    with torch.device("meta"):
        network = deeplabv3(19, backbone, aux=aux)
        cost = describe(network, (256, 512))
    assert cost["parameters"] == parameters
    assert gmacs is None or cost["gmacs"] == pytest.approx(gmacs, rel=0.002)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_torchvisions_state_dict_loads_key_for_key_and_gives_torchvisions_logits(backbone):
    aux = backbone == "resnet50"
    theirs = torchvisions(backbone, 19, aux)
    ours = deeplabv3(19, backbone, aux=aux, dropout=0.3).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for size in SIZES:
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            output, expected = ours(images), theirs(images)
        assert output.logits.shape == (1, 19, *size)
        torch.testing.assert_close(output.logits, expected["out"], rtol=1e-5, atol=1e-5)
        if aux:
            torch.testing.assert_close(output.aux, expected["aux"], rtol=1e-5, atol=1e-5)
        else:
            assert output.aux is None


@pytest.mark.slow
def test_a_large_photo_of_an_odd_size_gives_logits_of_its_size():
    with torch.no_grad():
        assert deeplabv3(3, aux=False).eval()(torch.randn(1, 3, 1100, 700)).logits.shape == (1, 3, 1100, 700)


def test_it_declares_what_the_rest_of_streetlab_asks_for():
    network = deeplabv3(4)
    assert network.task == "segmentation"
    assert network.normalization == {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    assert network.load_report is None
    again = pickle.loads(pickle.dumps(copy.deepcopy(network)))
    assert again.parameter_groups == network.parameter_groups


@pytest.mark.parametrize("aux", [True, False])
def test_head_and_backbone_share_no_parameter_and_hold_every_one(aux):
    with torch.device("meta"):
        network = deeplabv3(4, aux=aux)
    head, backbone, everything, layer4 = (
        [name for name, _ in select_parameters(network, [group])] for group in ("head", "backbone", "all", "layer4")
    )
    assert {name.partition(".")[0] for name in head} == ({"classifier", "aux_classifier"} if aux else {"classifier"})
    assert not set(head) & set(backbone)
    assert set(head) | set(backbone) == set(everything) == {name for name, _ in network.named_parameters()}
    assert layer4 == [name for name in backbone if name.startswith("backbone.layer4.")]
    assert all(select_parameters(network, [group]) for group in network.parameter_groups)
    frozen = modules_to_keep_in_eval(network, ["head"])
    assert not any(module in frozen for module in network.classifier.modules())
    assert all(module in frozen for module in network.backbone.modules())


def test_a_head_for_other_classes_is_made_anew_and_reported(r50, r50_file):
    network = deeplabv3(19, weights=r50_file)
    summary = network.load_report.summary()
    assert "classifier.4.weight (21, 256, 1, 1)" in summary
    assert "replaced for 19 classes" in summary
    assert [key for key, _, _ in network.load_report.reshaped] == [
        "classifier.4.weight", "classifier.4.bias", "aux_classifier.4.weight", "aux_classifier.4.bias",
    ]  # fmt: skip
    assert torch.equal(network.classifier[0].convs[3][0].weight, r50.classifier[0].convs[3][0].weight)


def test_other_rates_and_no_auxiliary_head_take_the_same_file(r50, r50_file):
    network = deeplabv3(21, weights=r50_file, aux=False, atrous_rates=[6, 12, 18])
    assert network.load_report.missing == []
    assert all(key.startswith("aux_classifier.") for key in network.load_report.unexpected)
    assert [conv[0].dilation for conv in network.classifier[0].convs[1:4]] == [(6, 6), (12, 12), (18, 18)]
    assert torch.equal(network.classifier[4].weight, r50.classifier[4].weight)


def test_a_checkpoint_of_streetlab_loads(r50, tmp_path):
    state = {f"network.{key}": value for key, value in r50.state_dict().items()}
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(3)}, "epoch": 3}, tmp_path / "best.ckpt")
    report = deeplabv3(21, weights=tmp_path / "best.ckpt").load_report
    assert report.missing == report.reshaped == []
    assert report.unexpected == ["loss.weight"]


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_bare_resnet_fills_the_backbone(library, tmp_path):
    resnet = torchvision.models.resnet50() if library == "torchvision" else timm.create_model("resnet50")
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    network = deeplabv3(19, weights=tmp_path / "resnet50.pth")
    assert torch.equal(network.backbone.layer4[2].conv3.weight, resnet.layer4[2].conv3.weight)
    assert network.load_report.unexpected == ["fc.weight", "fc.bias"]
    assert all(key.startswith(("classifier.", "aux_classifier.")) for key in network.load_report.missing)
    assert len(network.load_report.loaded) == len(network.backbone.state_dict())


def test_another_architectures_file_is_refused(tmp_path, r50_file):
    torch.save(torchvision.models.resnet101().state_dict(), tmp_path / "resnet101.pth")
    with pytest.raises(UserError, match=r"resnet101\.pth: weights of another .* deeplabv3_resnet50 needs fit, but"):
        deeplabv3(19, weights=tmp_path / "resnet101.pth")
    with pytest.raises(UserError, match=r"deeplabv3\.pth: weights of another architecture: 265 of the 520"):
        deeplabv3(19, "resnet101", weights=r50_file)
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(UserError, match="weights of another architecture"):
        deeplabv3(19, weights=tmp_path / "resnet34.pth")


@pytest.mark.parametrize("source", ["imagenet", "coco"])
def test_without_the_hub_the_error_says_how_to_pass_a_file(source, monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("[Errno -2] Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(UserError, match=r"model\.weights=.* torchvision's hub .*model\.weights=FILE") as caught:
        deeplabv3(19, weights=source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["imagenet", "coco"])
def test_the_hubs_weights_fill_what_they_are_for(source, monkeypatch, tmp_path, r50):
    resnet = torchvision.models.resnet50()

    def download(url, file, hash_prefix=None, progress=True):
        assert ("deeplabv3_resnet50_coco" in url) == (source == "coco")
        torch.save(r50.state_dict() if source == "coco" else resnet.state_dict(), file)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    network = deeplabv3(19, weights=source)
    given = r50.backbone if source == "coco" else resnet
    assert torch.equal(network.backbone.layer4[2].conv3.weight, given.layer4[2].conv3.weight)
    assert network.load_report.reshaped if source == "coco" else network.load_report.missing
    assert len(network.load_report.sha256) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aux": 2}, r"model\.aux: '2' is not true or false"),
        ({"backbone": "resnet5"}, r"backbone=resnet5: .*did you mean 'resnet50'\? allowed: resnet50, resnet101"),
        ({"weights": "cocoa"}, r"did you mean 'coco'\? allowed: none, imagenet, coco or a file"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0: allowed"),
        ({"num_classes": 0}, "at least one class"),
        ({"atrous_rates": [6, 0]}, r"atrous_rates=\[6, 0\]: a list of whole numbers above 0"),
        ({"atrous_rates": 6}, r"atrous_rates=6: a list"),
        ({"weights": "nowhere/w.pth"}, "there is no folder nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        deeplabv3(**{"num_classes": 3, **options})
    assert "\n" not in str(caught.value)


def test_dropout_acts_before_the_last_layer_in_training_alone():
    network = deeplabv3(3, dropout=0.5)
    features = torch.rand(1, 256, 40, 40)
    before_last = network.classifier[3]
    assert 0.45 < (before_last(features) == 0).float().mean() < 0.55
    assert torch.equal(before_last.eval()(features), features)


def test_a_batch_of_one_image_says_what_to_change():
    network = deeplabv3(3, aux=False).train()
    with pytest.raises(UserError, match=r"batch of one image .* drop the last"):
        network(torch.randn(1, 3, 64, 64))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert network(torch.randn(1, 3, 64, 64)).logits.shape == (1, 3, 64, 64)


def test_half_precision_and_channels_last_train():
    network = deeplabv3(3).to(memory_format=torch.channels_last).train()
    images = torch.randn(2, 3, 64, 48).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
    assert output.logits.dtype == output.aux.dtype == torch.float32
    (output.logits.square().mean() + output.aux.square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

"""Networks of segmentation_models_pytorch: its own forward is the oracle, every decoder takes every size."""

import pickle

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.cost import describe
from streetlab.networks.groups import modules_to_keep_in_eval, select_parameters
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.networks.smp_network import smp_network

torch.set_num_threads(1)

DECODERS = [name for name in smp.MODEL_ARCHITECTURES_MAPPING if name != "dpt"]


def small(num_classes=5, decoder="unet", encoder="resnet18", **options):
    return smp_network(num_classes, decoder, encoder, **options)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_gives_logits_of_the_images_size(decoder):
    network = small(decoder=decoder, dropout=0.1).eval()
    with torch.no_grad():
        for size in ((33, 47), (64, 64), (100, 37), (20, 9)):
            assert network(torch.randn(1, 3, *size)).logits.shape == (1, 5, *size)


def test_a_large_photo_of_an_odd_size_gives_logits_of_its_size():
    with torch.no_grad():
        assert small(decoder="fpn").eval()(torch.randn(1, 3, 1100, 700)).logits.shape == (1, 5, 1100, 700)


def test_dpt_on_a_vision_transformer_takes_any_size_too():
    network = small(decoder="dpt", encoder="tu-vit_tiny_patch16_224", dynamic_img_size=True).eval()
    with torch.no_grad():
        for size in ((33, 47), (64, 64)):
            assert network(torch.randn(1, 3, *size)).logits.shape == (1, 5, *size)


@pytest.mark.parametrize("decoder", ["unet", "deeplabv3plus"])
def test_the_logits_are_smps(decoder, tmp_path):
    theirs = smp.create_model(decoder, "resnet18", None, classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    ours = small(decoder=decoder, weights=tmp_path / "whole.pth", dropout=0.2).eval()
    assert ours.load_report.missing == ours.load_report.unexpected == []
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images).logits, theirs(images), rtol=1e-5, atol=1e-5)


def test_networks_trained_with_other_statistics_still_take_imagenet_normalised_images():
    ours = small(encoder="tu-tf_efficientnet_lite0").eval()
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        expected = ours.model((pixels - 0.5) / 0.5)
        torch.testing.assert_close(ours((pixels - mean) / std).logits, expected, rtol=1e-4, atol=1e-4)
    assert not any("renormalize" in key for key in ours.state_dict())
    for encoder, other in (("xception", True), ("dpn68", True), ("resnet18", False), ("tu-convnext_atto", False)):
        assert (small(encoder=encoder).renormalize is not None) == other, encoder


def test_dropout_acts_before_the_last_layer_in_training_alone_and_changes_no_key():
    network = small(dropout=0.5)
    assert list(network.state_dict()) == list(small().state_dict())
    head = network.model.segmentation_head
    seen = []
    head[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    features = torch.rand(1, 16, 40, 40)
    for mode in (True, False):
        head.train(mode)(features)
    assert 0.45 < (seen[0] == 0).float().mean() < 0.55
    assert torch.equal(seen[1], features)


def test_a_checkpoint_of_streetlab_loads_and_a_head_for_other_classes_is_replaced(tmp_path):
    trained = small(5)
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    assert small(5, weights=tmp_path / "best.ckpt").load_report.missing == []
    other = small(3, weights=tmp_path / "best.ckpt")
    assert "model.segmentation_head.0.weight (5, 16, 3, 3)" in other.load_report.summary()
    assert "replaced for 3 classes" in other.load_report.summary()
    assert torch.equal(other.model.decoder.blocks[0].conv1[0].weight, trained.model.decoder.blocks[0].conv1[0].weight)


def test_an_encoder_alone_loads_from_smp_torchvision_and_timm(tmp_path):
    encoders = {
        "resnet18": [smp.encoders.get_encoder("resnet18"), torchvision.models.resnet18()],
        "tu-convnext_atto": [smp.encoders.get_encoder("tu-convnext_atto"), timm.create_model("convnext_atto")],
    }
    for encoder, sources in encoders.items():
        for source in sources:
            torch.save(source.state_dict(), tmp_path / "encoder.pth")
            network = small(encoder=encoder, weights=tmp_path / "encoder.pth")
            assert not [key for key in network.load_report.missing if key.startswith("model.encoder.")], encoder
            assert len(network.load_report.loaded) == len(network.model.encoder.state_dict())


def test_another_architectures_file_is_refused(tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(UserError, match=r"resnet34\.pth: weights of another .* unet on resnet18 needs fit, but 96"):
        small(weights=tmp_path / "resnet34.pth")
    whole = smp.create_model("unet", "resnet34", None, classes=5)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    with pytest.raises(UserError, match=r"whole\.pth: weights of another architecture"):
        small(weights=tmp_path / "whole.pth")
    wider = smp.create_model("unet", "resnet18", None, classes=5, decoder_channels=(256, 128, 64, 32, 24))
    torch.save(wider.state_dict(), tmp_path / "wider.pth")
    with pytest.raises(UserError, match=r"model\.decoder\.blocks\.4\..* the network needs \(16, 32, 3, 3\)"):
        small(weights=tmp_path / "wider.pth")


@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto"])
def test_without_the_hub_the_error_says_how_to_pass_a_file(encoder, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("Cannot reach https://huggingface.co/x: offline.\nsecond line")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", unreachable)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UserError, match=rf"weights of {encoder} could not be .*model\.weights=FILE") as caught:
        small(encoder=encoder, weights="imagenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"can't build unet on .* with model\.encoder_depth=4"):
        small(encoder=encoder, weights="imagenet", encoder_depth=4)


def test_the_hubs_weights_fill_the_encoder(monkeypatch, tmp_path):
    given = smp.encoders.get_encoder("resnet18").state_dict()
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", lambda *a, **k: "file")
    monkeypatch.setattr("segmentation_models_pytorch.encoders.load_file", lambda *a, **k: dict(given))
    network = small(weights="imagenet")
    assert torch.equal(network.model.encoder.layer4[1].conv2.weight, given["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "unett"}, r"decoder=unett: .*did you mean 'unet'\? allowed: unet, unetplusplus"),
        ({"encoder": "resnet19"}, r"encoder=resnet19: smp has no such encoder; did you mean 'resnet18'"),
        ({"encoder": "tu-convnext_ato"}, r"did you mean 'tu-convnext_atto'"),
        ({"weights": "imagnet"}, r"did you mean 'imagenet'\? allowed: none, imagenet or a file"),
        ({"encoder": "resnext101_32x4d", "weights": "imagenet"}, r"there are none for resnext.* \(only ssl, swsl\)"),
        ({"decoder_chanels": [64, 32]}, r"model\.decoder_chanels: smp's unet .*did you mean 'decoder_channels'"),
        ({"decoder_channels": [64, 32]}, r"can't build unet on resnet18 with model\.decoder_channels=\[64, 32\]"),
        ({"activation": "softmax"}, r"model\.activation is not an option here: a network returns logits"),
        ({"decoder": "dpt"}, r"can't build dpt on resnet18: Only Timm encoders"),
        ({"dropout": 2}, r"model\.dropout=2: allowed"),
    ],
)
def test_a_wrong_option_is_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto"])
def test_head_and_backbone_share_no_parameter_and_hold_every_one(encoder):
    network = small(encoder=encoder, dropout=0.1)
    last = {"resnet18": "layer4", "tu-convnext_atto": "stages_3"}[encoder]
    head, backbone, everything, layer = (
        [name for name, _ in select_parameters(network, [group])] for group in ("head", "backbone", "all", last)
    )
    assert not set(head) & set(backbone)
    assert set(head) | set(backbone) == set(everything) == {name for name, _ in network.named_parameters()}
    assert layer == [name for name in backbone if f".{last}." in name]
    assert all(select_parameters(network, [group]) for group in network.parameter_groups)
    frozen = modules_to_keep_in_eval(network, ["head"])
    assert not any(module in frozen for module in network.model.segmentation_head.modules())
    assert all(module in frozen for module in network.model.encoder.modules())


def test_half_precision_and_channels_last_train():
    network = small(decoder="fpn").to(memory_format=torch.channels_last).train()
    images = torch.randn(2, 3, 70, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
    assert output.logits.dtype == torch.float32
    output.logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_it_declares_what_the_rest_of_streetlab_asks_for():
    network = small()
    assert network.task == "segmentation"
    assert network.normalization == {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    assert network.load_report is None
    assert describe(network, (64, 64))["parameters"] == sum(p.numel() for p in network.parameters())
    assert isinstance(pickle.loads(pickle.dumps(network)), nn.Module)


def test_an_exported_network_takes_images_of_other_sizes():
    network = small(decoder="fpn").eval()
    any_size = torch.export.Dim.DYNAMIC
    exported = torch.export.export(
        network, (torch.randn(2, 3, 64, 96),), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},)
    ).module()
    for size in ((50, 77), (64, 64)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(exported(images).logits, network(images).logits)

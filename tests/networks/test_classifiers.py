"""Classifiers: the contract, torchvision as oracle, and errors a user can act on."""

import pickle

import pytest
import timm
import torch
import torchvision

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

torch.set_num_threads(1)


def test_resnet18_is_torchvisions_so_its_weights_and_results_carry_over():
    torch.manual_seed(0)
    ours = timm_classifier(5, "resnet18.tv_in1k", zero_init_last=False).eval()
    theirs = torchvision.models.resnet18(num_classes=5).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 96, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_resnet18_starts_from_torchvisions_initialisation():
    ours = timm_classifier(3, "resnet18.tv_in1k", zero_init_last=False)
    theirs = torchvision.models.resnet18(num_classes=3)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if a.dim() == 1 and not name.startswith("fc"):
            torch.testing.assert_close(a, b, msg=name)
        elif a.numel() > 10_000:
            assert a.std().item() == pytest.approx(b.std().item(), rel=0.05), name


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_any_timm_name_gives_logits_of_the_data_sets_classes(name):
    network = timm_classifier(4, name, dropout=0.1).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 3, 224, 224))
    assert logits.shape == (1, 4)
    assert logits.isfinite().all()
    assert network.normalization == {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    assert network.load_report is None
    assert network.parameter_groups["head"]


def test_networks_trained_with_other_statistics_still_take_imagenet_normalised_images():
    torch.manual_seed(0)
    ours = timm_classifier(4, "vit_tiny_patch16_224", img_size=64).eval()
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=64).eval()
    assert list(ours.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(ours.state_dict())
    torch.nn.init.normal_(plain.head.weight)
    torch.nn.init.normal_(ours.head.weight)
    ours.head.load_state_dict(plain.head.state_dict())
    pixels = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        expected = plain((pixels - 0.5) / 0.5)
        torch.testing.assert_close(ours((pixels - mean) / std), expected, rtol=1e-4, atol=1e-4)
        again = pickle.loads(pickle.dumps(ours))
        torch.testing.assert_close(again((pixels - mean) / std), expected, rtol=1e-4, atol=1e-4)


def test_dropout_acts_before_the_last_layer_in_training_alone():
    torch.manual_seed(0)
    network = timm_classifier(3, "resnet18", dropout=0.5)
    seen = []
    network.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.eval()
    with torch.no_grad():
        for network.training in (True, False):  # the other layers stay as they are
            network(torch.ones(2, 3, 64, 64))
    with_dropout, without = seen
    dropped = (with_dropout == 0) & (without != 0)
    assert 0.4 < dropped.sum() / (without != 0).sum() < 0.6
    torch.testing.assert_close(with_dropout[~dropped], 2 * without[~dropped])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet19"}, r"model\.name: timm has no network 'resnet19'; did you mean .*resnet18"),
        ({"name": "resnet18.tv_in2k"}, r"no weights tagged 'tv_in2k'; did you mean 'resnet18\.tv_in1k'"),
        ({"name": "hf-hub:timm/resnet18"}, r"timm has no network 'hf-hub:timm/resnet18'"),
        ({"name": "resnet18", "zero_init_lst": 1}, r"zero_init_lst: .*did you mean 'zero_init_last'"),
        ({"name": "efficientnet_b0", "zero_init_last": False}, r"efficientnet_b0 has no such option"),
        ({"name": "convnext_atto", "depths": 3}, r"can't build convnext_atto with model\.depths=3"),
        ({"name": "resnet18", "pretrained": True}, r"model\.pretrained .*model\.weights=imagenet"),
        ({"name": "resnet18", "dropout": 1.5}, r"model\.dropout=1\.5: allowed is 0 up to below 1"),
        ({"name": "resnet18", "weights": "imagnet"}, r"'imagenet'\? allowed: none, imagenet or a file"),
        ({"name": "convnext_atto_rms", "weights": "imagenet"}, r"has no weights for convnext_atto_rms; use"),
    ],
)  # fmt: skip
def test_a_misspelt_model_option_is_one_line_with_the_nearest_choice(options, message):
    with pytest.raises(UserError, match=message) as caught:
        timm_classifier(3, **options)
    assert "\n" not in str(caught.value)


def test_without_the_hub_the_error_says_how_to_pass_a_file(monkeypatch):
    create = timm.create_model

    def unreachable(name, pretrained=False, **options):
        if pretrained:
            raise OSError("Cannot reach https://huggingface.co/x: offline.\nsecond line")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UserError, match=r"weights of resnet18\.tv_in1k .*model\.weights=FILE") as caught:
        timm_classifier(3, "resnet18.tv_in1k", weights="imagenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"with model\.depths=3"):
        timm_classifier(3, "convnext_atto", weights="imagenet", depths=3)


def test_no_weights_means_no_download(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    timm_classifier(3, "resnet18.tv_in1k", weights="none")


def test_stochastic_depth_leaves_out_later_blocks_more_often():
    network = timm_classifier(3, "resnet18", drop_path=0.2)
    shares = [block.drop_path.drop_prob for layer in range(1, 5) for block in getattr(network, f"layer{layer}")
              if block.drop_path is not None]  # fmt: skip
    assert shares == pytest.approx([0.2 * block / 7 for block in range(1, 8)])
    assert list(network.state_dict()) == list(timm_classifier(3, "resnet18").state_dict())
    with pytest.raises(UserError, match=r"model\.drop_path=1.0: allowed is 0 up to below 1"):
        timm_classifier(3, "resnet18", drop_path=1.0)
    with pytest.raises(UserError, match=r"model\.drop_path: timm's vgg11 has no such option"):
        timm_classifier(3, "vgg11", drop_path=0.2)


def test_a_head_that_begins_at_zero_favours_no_class_and_learns(tmp_path):
    network = timm_classifier(3, "test_resnet", zero_init_head=True)
    images = torch.rand(4, 3, 32, 32)
    logits = network(images)
    assert torch.equal(logits, torch.zeros(4, 3))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    assert network.get_classifier().weight.grad.abs().sum() > 0
    ordinary = timm_classifier(3, "test_resnet")
    torch.save(ordinary.state_dict(), tmp_path / "whole.pth")
    loaded = timm_classifier(3, "test_resnet", weights=str(tmp_path / "whole.pth"), zero_init_head=True)
    assert torch.equal(loaded.get_classifier().weight, ordinary.get_classifier().weight)

"""Networks of one image size: built for the run's, or refused in one line that says which sizes work."""

import re

import pytest
import timm
import torch
from torch import nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.image_size import check_image_size, refusal

torch.set_num_threads(1)
SIZE = (64, 96)
SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_vit_relpos", {}),
        ("test_maxvit", {}),
        ("vit_tiny_patch16_224", {"depth": 1}),
        ("deit_tiny_distilled_patch16_224", {"depth": 1}),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("mixer_s32_224", {}),
    ],
)
def test_a_network_of_one_size_is_built_for_the_runs_images(name, options):
    with pytest.raises((AssertionError, RuntimeError)):  # as timm builds it
        timm_classifier(3, name, **options).eval()(torch.zeros(1, 3, *SIZE))
    network = timm_classifier(3, name, image_size=SIZE, **options).eval()
    assert network(torch.zeros(1, 3, *SIZE)).shape == (1, 3)
    assert network.built_with == {"img_size": list(SIZE)}
    # what was noted describes the same network where no image size is known, as in a checkpoint
    again = timm_classifier(3, name, **options, **network.built_with)
    assert [(key, t.shape) for key, t in again.state_dict().items()] == [
        (key, t.shape) for key, t in network.state_dict().items()
    ]


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("test_resnet", {}, SIZE),
        ("test_vit", {}, SIZE),  # takes any size as it is
        ("test_vit_relpos", {}, (160, 160)),  # its own size
        ("vit_tiny_patch16_224", {"depth": 1, "dynamic_img_size": True}, SIZE),
        ("vit_tiny_patch16_224", {"depth": 1, "img_size": 32}, SIZE),  # as the config says
    ],
)
def test_a_network_that_needs_no_fitting_keeps_its_tensors_and_random_numbers(name, options, size):
    torch.manual_seed(0)
    expected = timm_classifier(3, name, **options).state_dict()
    torch.manual_seed(0)
    network = timm_classifier(3, name, image_size=size, **options)
    assert network.built_with == {}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(("name", "options"), [("vit_tiny_patch16_224", {"depth": 1}), ("test_vit_relpos", {})])
def test_weights_of_the_usual_size_are_resampled_as_timm_does(tmp_path, name, options):
    file = tmp_path / "usual.pth"
    torch.save(timm.create_model(name, num_classes=3, **options).state_dict(), file)
    network = timm_classifier(3, name, weights=str(file), image_size=SIZE, **options)
    overlay = {"file": str(file), "num_classes": 3, "hf_hub_id": None, "url": ""}
    theirs = timm.create_model(
        name, pretrained=True, num_classes=3, img_size=SIZE, pretrained_cfg_overlay=overlay, **options
    )
    assert network.load_report.missing == []
    for key, tensor in theirs.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], tensor, msg=key)


def test_weights_that_cannot_be_resampled_are_one_line_with_their_size(tmp_path):
    file = tmp_path / "usual.pth"
    torch.save(timm.create_model("mixer_s32_224").state_dict(), file)
    with pytest.raises(UserError, match=r"built for image_size=\[64,96\].*may fit image_size=\[224,224\] alone"):
        timm_classifier(3, "mixer_s32_224", weights=str(file), image_size=SIZE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("efficientformer_l1", r"; image_size=\[224,224\] fits$"),  # has no img_size that works
        ("nest_tiny", r"square.*; image_size=\[96,96\] and image_size=\[224,224\] fit$"),
    ],
)
def test_a_size_that_cannot_be_built_names_those_that_can(name, hint):
    with pytest.raises(UserError, match=rf"^image_size=\[64,96\]: timm's {name} takes no images of that size.*{hint}"):
        timm_classifier(3, name, image_size=SIZE)


def test_a_network_of_another_size_than_the_images_names_both_keys():
    network = timm_classifier(3, "vit_tiny_patch16_224", depth=1)  # such as one of `_target_: timm.create_model`
    with pytest.raises(UserError) as error:
        check_image_size(network, SIZE)
    assert re.match(r"image_size=\[64,96\]: VisionTransformer takes no images of that size", str(error.value))
    assert "image_size=[224,224] fits" in str(error.value)
    assert "+model.img_size=[64,96]" in str(error.value)
    with pytest.raises(UserError, match=r"trained at image_size=\[224,224\], and \+model.dynamic_img_size=true"):
        check_image_size(network, SIZE, trained=(224, 224))


class Outside(nn.Module):
    """Holds a tensor that is no buffer, so that the meta device can't tell."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.shift = torch.ones(1)

    def forward(self, images):
        assert images.shape[-1] % 32 == 0, "odd"
        return self.norm(images + self.shift).mean((2, 3))


def test_asking_for_a_size_changes_nothing_and_refuses_no_network_that_works():
    network = Outside().train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert refusal(network, (32, 64)) is None
    assert refusal(network, (32, 65)) == "odd"
    assert network.training
    assert network.norm.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())

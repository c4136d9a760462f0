"""Methods and layers of activation maps: Captum's Grad-CAM, the other papers' formulas, tokens, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from captum._utils.gradient import compute_layer_gradients_and_eval
from captum.attr import LayerGradCam
from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.networks.cam import METHODS, class_activation, find_layer
from streetlab.networks.classifiers import timm_classifier

CLASSES = [0, 2, 1]


def as_large_as(images: Tensor, maps: Tensor) -> Tensor:
    return F.interpolate(maps.detach(), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def assert_equal_maps(found: Tensor, expected: Tensor) -> None:
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("layer", [None, "layer2"])
def test_grad_cam_is_captums(network, images, frozen, layer):
    oracle = LayerGradCam(network, network.get_submodule(layer or "layer4"))
    expected = as_large_as(images, oracle.attribute(images, torch.tensor(CLASSES), relu_attributions=True))
    asked = copy.deepcopy(network).requires_grad_(not frozen)
    with torch.inference_mode(frozen):
        assert_equal_maps(class_activation(asked, images, CLASSES, layer=layer), expected)


@pytest.mark.parametrize(
    ("name", "options", "size", "seen", "layer"),
    [
        ("vit_tiny_patch16_224", {"img_size": (64, 96), "depth": 3}, (64, 96), (64, 96), "blocks.2.norm1"),
        ("deit_tiny_distilled_patch16_224", {"img_size": (64, 96), "depth": 2}, (64, 96), (64, 96), "blocks.1.norm1"),
        # any size; padded at the bottom and on the right to whole patches
        ("test_vit", {"dynamic_img_size": True, "dynamic_img_pad": True}, (70, 90), (80, 96), "blocks.5.norm1"),
    ],
)
def test_a_transformers_tokens_are_maps_as_captum_has_them(name, options, size, seen, layer):
    torch.manual_seed(0)
    network = timm_classifier(3, name, **options).eval()
    images = torch.randn(3, 3, *size)
    assert find_layer(network) == layer
    (gradients,), (values,) = compute_layer_gradients_and_eval(
        network, network.get_submodule(layer), images.clone().requires_grad_(), torch.tensor(CLASSES)
    )
    grid = (seen[0] // 16, seen[1] // 16)
    patches = slice(-grid[0] * grid[1], None)
    weights = gradients[:, patches].mean(dim=1, keepdim=True)
    expected = (weights * values[:, patches]).sum(dim=2).relu().unflatten(1, grid)[:, None]
    expected = F.interpolate(expected.detach(), seen, mode="bilinear", align_corners=False)[:, 0, : size[0], : size[1]]
    assert_equal_maps(class_activation(network, images, CLASSES), expected)


FORMULAS = {
    "hires_cam": lambda a, g: a * g,
    "layer_cam": lambda a, g: a * g.relu(),
    "grad_cam_elementwise": lambda a, g: (a * g).relu(),
    "xgrad_cam": lambda a, g: a * (g * a / (a.sum(dim=(2, 3), keepdim=True) + 1e-7)).sum(dim=(2, 3), keepdim=True),
    # equation 19 of the paper; the alphas are 0 where the gradient is
    "grad_cam_plus_plus": lambda a, g: a * (
        g.relu() * torch.where(g != 0, g**2 / (2 * g**2 + a.sum(dim=(2, 3), keepdim=True) * g**3 + 1e-6), 0)
    ).sum(dim=(2, 3), keepdim=True),
}  # fmt: skip


@pytest.mark.parametrize("method", FORMULAS)
def test_the_methods_with_gradients_are_their_papers(network, images, method):
    (gradients,), (values,) = compute_layer_gradients_and_eval(
        network, network.layer4, images.clone().requires_grad_(), torch.tensor(CLASSES)
    )
    expected = FORMULAS[method](values, gradients).sum(dim=1, keepdim=True).relu()
    assert_equal_maps(class_activation(network, images, CLASSES, method), as_large_as(images, expected))


def test_eigen_cam_is_the_first_principal_component_with_its_peak_upwards(network, images):
    kept: list[Tensor] = []
    with torch.no_grad(), network.layer4.register_forward_hook(lambda m, i, out: kept.append(out)):
        network(images)
    expected = []
    for values in kept[0]:
        places = values.flatten(1).T.double()
        _, vectors = torch.linalg.eigh(torch.cov(places.T))
        component = (places - places.mean(dim=0)) @ vectors[:, -1]
        component = component if component.max() > -component.min() else -component
        expected.append(component.view(values.shape[1:]).relu().float())
    maps = class_activation(network, images, CLASSES, "eigen_cam")
    assert_equal_maps(maps, as_large_as(images, torch.stack(expected)[:, None]))


@torch.no_grad()
def test_the_methods_without_gradients_are_their_papers(network, images):
    layer, image, label = network.layer1, images[0], CLASSES[0]
    kept: list[Tensor] = []
    with layer.register_forward_hook(lambda m, i, out: kept.append(out)):
        network(image[None])
    (values,) = kept
    masks = F.interpolate(values, image.shape[-2:], mode="bilinear", align_corners=False)[0]
    score_weights, ablation_weights = [], []
    whole = network(image[None])[0, label]
    for channel, mask in enumerate(masks):
        shown = image * (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        score_weights.append(network(shown[None])[0, label])
        cut = values.clone()
        cut[:, channel] = 0
        with layer.register_forward_hook(lambda m, i, out, cut=cut: cut):
            ablation_weights.append(whole - network(image[None])[0, label])
    for method, weights in (
        ("score_cam", torch.stack(score_weights).softmax(dim=0)),
        ("ablation_cam", torch.stack(ablation_weights)),
    ):
        expected = (weights.view(1, -1, 1, 1) * values).sum(dim=1, keepdim=True).relu()
        found = class_activation(network, images[:1], [label], method, "layer1")
        assert_equal_maps(found, as_large_as(images[:1], expected))
    assert not layer._forward_hooks


@pytest.mark.parametrize("method", METHODS)
def test_no_method_notices_its_batch_or_accepts_a_class_that_is_not_there(network, images, method):
    layer = "layer1" if method in ("score_cam", "ablation_cam") else None
    together = class_activation(network, images, CLASSES, method, layer)
    alone = [class_activation(network, images[i : i + 1], CLASSES[i : i + 1], method, layer) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4 * float(together.max()))
    with pytest.raises(ValueError, match=r"classes \[0, 1, 3\]: the network has 3"):
        class_activation(network, images, [0, 1, 3], method)
    assert not any(module._forward_hooks for module in network.modules())


def test_unknown_methods_and_layers_name_the_nearest(network, images):
    with pytest.raises(UserError, match=r"method: 'gradcam' is not one of grad_cam, .*did you mean 'grad_cam'"):
        class_activation(network, images, CLASSES, "gradcam")
    with pytest.raises(UserError, match=r"layer: ResNet has no layer 'layer5'; did you mean layer\d or layer\d or"):
        find_layer(network, "layer5")
    with pytest.raises(UserError, match="its parts are conv1, bn1"):
        find_layer(network, "zzzz")


def test_layers_that_explain_nothing_are_refused(images):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.Conv2d(3, 3, 1)
            self.aside = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            self.aside(images)
            return self.twice(self.twice(images)).mean(dim=(2, 3))

    with pytest.raises(UserError, match="'twice' runs 2 times"):
        class_activation(Odd(), images, CLASSES, layer="twice")
    with pytest.raises(UserError, match="'aside' has no influence"):
        class_activation(Odd(), images, CLASSES, layer="aside")

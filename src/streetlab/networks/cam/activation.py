"""Compute activation maps of classifiers and segmentation networks; the network is left unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.networks.cam.engines import engine_for
from streetlab.networks.cam.layers import FeatureLayer, find_layer


def class_activation(
    network: nn.Module,
    images: Tensor,
    classes: Sequence[int] | Tensor,
    method: str = "grad_cam",
    layer: str | None = None,
) -> Tensor:
    """The map of each image for its class: how much each place of a layer speaks for the class's logit.

    The maps are raw: negative values cut to 0, resized bilinearly to the images. None is scaled by its own maximum,
    so that maps of one network, method and layer can be compared. With Grad-CAM, a map is the sum of the layer's
    channels, each weighted by the mean gradient of the class's logit.

    The network may be frozen or in training, and the caller in `inference_mode`: the maps are those of eval mode,
    and modes, `requires_grad`, gradients and hooks are afterwards what they were.

    Args:
        network: images to logits (B, K).
        images: (B, 3, H, W) float32, normalised as the network takes them, on its device.
        classes: B class ids.
        method: one of `METHODS`.
        layer: the dotted name of a layer; None for the last stage, see `find_layer`.

    Returns:
        (B, H, W) float32 on the CPU.

    Raises:
        UserError: unknown method or layer, a layer that makes no feature map or runs more than once, or a network
            that names no last stage.
        ValueError: another number of classes than images, or a class that the network does not have.
    """
    wanted = _wanted(images, classes)
    return _activation(network, images, wanted, [_Score(label) for label in wanted], method, layer)


def region_activation(
    network: nn.Module,
    images: Tensor,
    classes: Sequence[int] | Tensor,
    regions: Tensor | None = None,
    method: str = "grad_cam",
    layer: str | None = None,
) -> Tensor:
    """The map of each image for its class in its region, of a segmentation network.

    What is explained is the sum of the class's logits over the region (Seg-Grad-CAM, Vinogradova et al. 2020,
    arXiv:2002.11434). All else is as in `class_activation`; a map covers the image even where the network pads
    it inside. An empty region has an empty map.

    Args:
        network: images to `SegmentationOutput`.
        regions: (B, H, W) bool; None: where the network predicts the class.

    Returns:
        (B, H, W) float32 on the CPU.

    Raises:
        UserError: as `class_activation`.
        ValueError: as `class_activation`, and for regions of another shape.
    """
    wanted = _wanted(images, classes)
    if regions is None:
        with _left_as_it_was(network), torch.no_grad():
            predicted = _Logits(network, wanted, 4)(images).argmax(dim=1)
        regions = predicted == torch.tensor(wanted, device=predicted.device).view(-1, 1, 1)
    if regions.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"regions {tuple(regions.shape)} of images {tuple(images.shape)}: one (H, W) for each image")
    targets = [_RegionScore(label, region) for label, region in zip(wanted, regions.to(images.device), strict=True)]
    maps = _activation(network, images, wanted, targets, method, layer)
    return maps * regions.flatten(1).any(dim=1).cpu().view(-1, 1, 1)  # some methods have a map of anything


def _activation(
    network: nn.Module,
    images: Tensor,
    wanted: Sequence[int],
    targets: Sequence[_Score | _RegionScore],
    method: str,
    layer: str | None,
) -> Tensor:
    place = FeatureLayer(network, find_layer(network, layer), (images.shape[-2], images.shape[-1]))
    with _left_as_it_was(network), torch.inference_mode(False):
        engine = engine_for(method, _Logits(network, wanted, 2 if isinstance(targets[0], _Score) else 4), place)
        # where all parameters are frozen, gradients flow because the images take them
        inputs = images.detach().clone().float().requires_grad_(engine.uses_gradients)
        try:
            with torch.set_grad_enabled(engine.uses_gradients), torch.autocast(inputs.device.type, enabled=False):
                # called, not entered: the engine's context manager prints an IndexError and goes on
                maps = engine(inputs, list(targets))
        finally:
            engine.activations_and_grads.release()
    resized = F.interpolate(torch.from_numpy(maps)[:, None], place.covered, mode="bilinear", align_corners=False)
    return resized[:, 0, : images.shape[-2], : images.shape[-1]]


def _wanted(images: Tensor, classes: Sequence[int] | Tensor) -> list[int]:
    wanted = [int(label) for label in classes]
    if not wanted or len(wanted) != len(images) or min(wanted) < 0:
        raise ValueError(f"{len(images)} images but classes {wanted}: one for each image, from 0")
    return wanted


@dataclass(frozen=True)
class _Score:
    """A class's logit."""

    label: int
    pixels = 1

    def __call__(self, output: Tensor) -> Tensor:
        return output[self.label]


@dataclass(frozen=True, eq=False)
class _RegionScore:
    """A class's logits, summed over a region (H, W)."""

    label: int
    region: Tensor

    @property
    def pixels(self) -> int:
        return max(1, int(self.region.sum()))

    def __call__(self, output: Tensor) -> Tensor:
        return (output[self.label] * self.region).sum()


class _Logits(nn.Module):
    """A network's logits, of `ndim` dimensions, that hold each of the `wanted` classes."""

    def __init__(self, network: nn.Module, wanted: Sequence[int], ndim: int) -> None:
        super().__init__()
        self.network = network
        self.wanted = wanted
        self.ndim = ndim

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(images)
        logits = getattr(output, "logits", output)
        if logits.ndim != self.ndim:
            other = "region_activation" if logits.ndim == 4 else "class_activation"
            raise ValueError(f"{type(self.network).__name__} makes scores of shape {tuple(logits.shape)}: use {other}")
        if max(self.wanted) >= logits.shape[1]:
            raise ValueError(f"classes {list(self.wanted)}: the network has {logits.shape[1]}")
        return logits


@contextmanager
def _left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Freeze the network in eval mode for the block; restore mode and gradients afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    state = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    try:
        network.eval()
        network.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in state:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient

"""The methods of pytorch-grad-cam with raw maps, not stretched to 0..1 by their own minimum and maximum.

Three of them compute their weights here, since the library's own

- Eigen-CAM's projection has the sign that the decomposition happens to return, and a decomposition as large as
  the map has pixels squared;
- Score-CAM keeps all masked copies of a batch at a time (10 GB for 32 photos of 224 px and 512 channels);
- Ablation-CAM exchanges layers of the network it is given, sets a channel to -10,000,000 where 0 is not its
  minimum, and divides by the score, which turns the map over where that is negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from streetlab.errors import UserError, did_you_mean
from streetlab.networks.cam.layers import FeatureLayer

_CLASSES = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "layer_cam": "LayerCAM",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGradCAM",
    "grad_cam_elementwise": "GradCAMElementWise",
    "eigen_cam": "EigenCAM",
    "eigen_grad_cam": "EigenGradCAM",
    "score_cam": "ScoreCAM",
    "ablation_cam": "AblationCAM",
}
METHODS = tuple(_CLASSES)
"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) and its kin: Grad-CAM++ (arXiv:1710.11063), LayerCAM (Jiang et
al. 2021, TIP), HiResCAM (arXiv:2011.08891), XGrad-CAM (arXiv:2008.02312), the positive element-wise products,
Eigen-CAM (arXiv:2008.00299; knows no class), the same of the element-wise products, and two without gradients:
Score-CAM (arXiv:1910.01279) and Ablation-CAM (Desai and Ramaswamy 2020, WACV), which ask the network once for each
channel of the layer."""
_AT_A_TIME = 16
"""Copies of an image that the methods without gradients show the network at a time."""


class Target(Protocol):
    """The score of one image that its map explains, from the network's output for it."""

    pixels: int
    """How many of the output's scores it adds up."""

    def __call__(self, output: Tensor) -> Tensor: ...


def engine_for(method: str, scores: nn.Module, layer: FeatureLayer) -> Any:
    """The engine of a method: called with images and `Target`s, it returns maps (B, h, w) of the layer's size.

    Args:
        scores: images to logits.

    Raises:
        UserError: unknown method.
    """
    check_method(method)
    engine = _engine_class(method)(scores, [layer.module], layer.to_maps)
    engine.layer = layer
    return engine


def check_method(method: str) -> None:
    """Raise the UserError that names the nearest of `METHODS`, where this is none of them."""
    if method not in METHODS:
        raise UserError(f"method: '{method}' is not one of {', '.join(METHODS)}{did_you_mean(str(method), METHODS)}")


@cache
def _engine_class(method: str) -> type:
    import pytorch_grad_cam

    own = {
        "eigen_cam": (_Eigen,),
        "eigen_grad_cam": (_EigenGrad,),
        "score_cam": (_Score,),
        "ablation_cam": (_Ablation,),
    }
    base = getattr(pytorch_grad_cam, _CLASSES[method])
    return type(f"Raw{_CLASSES[method]}", (*own.get(method, ()), _Raw, base), {})


class _Raw:
    """Replace the last steps of each of the library's engines."""

    activations_and_grads: Any
    get_cam_image: Callable[..., NDArray[np.float32]]
    layer: FeatureLayer
    model: nn.Module
    uses_gradients: bool

    def compute_cam_per_layer(self, images: Tensor, targets: list[Target], smooth: bool) -> NDArray[np.float32]:
        kept = self.activations_and_grads
        name = self.layer.name
        if len(kept.activations) != 1:
            raise UserError(f"layer: '{name}' runs {len(kept.activations)} times for an image; name one that runs once")
        if self.uses_gradients and len(kept.gradients) != 1:
            raise UserError(f"layer: '{name}' has no influence on the scores that are explained; name another")
        gradients = kept.gradients[0].numpy() if self.uses_gradients else None
        activations = kept.activations[0].numpy()
        return self.get_cam_image(images, self.layer.module, targets, activations, gradients, smooth)

    def aggregate_multi_layers(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.maximum(maps, 0)


class _Eigen(_Raw):
    def get_cam_image(
        self,
        images: Tensor,
        layer: nn.Module,
        targets: list[Target],
        activations: NDArray[np.float32],
        gradients: NDArray[np.float32] | None,
        smooth: bool,
    ) -> NDArray[np.float32]:
        return _first_components(activations)


class _EigenGrad(_Raw):
    def get_cam_image(
        self,
        images: Tensor,
        layer: nn.Module,
        targets: list[Target],
        activations: NDArray[np.float32],
        gradients: NDArray[np.float32],
        smooth: bool,
    ) -> NDArray[np.float32]:
        return _first_components(gradients * activations)


def _first_components(stacks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, C, h, w) to (B, h, w): the places' values on the first principal component of their channels.

    Its sign is the one that makes the largest value positive (Chung and Ying 2025, Appl. Sci. 15, equation 13).
    """
    maps = []
    for stack in stacks:
        places = stack.reshape(len(stack), -1).T
        left, values, _ = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
        values = left[:, 0] * values[0]
        maps.append((values if values.max() >= -values.min() else -values).reshape(stack.shape[1:]))
    return np.stack(maps)


class _Score(_Raw):
    """The softmax of the scores that the image gets where a channel alone, stretched to 0..1, lets it through."""

    @torch.no_grad()
    def get_cam_weights(
        self, images: Tensor, layer: nn.Module, targets: list[Target], activations: object, gradients: None
    ) -> NDArray[np.float32]:
        self.activations_and_grads.release()
        weights = []
        for image, channels, target in zip(
            images, torch.from_numpy(activations).to(images.device), targets, strict=True
        ):
            scores = []
            for chunk in _chunks(len(channels)):
                masks = F.interpolate(channels[chunk, None], self.layer.covered, mode="bilinear", align_corners=False)
                masks = masks[..., : image.shape[-2], : image.shape[-1]]
                low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
                scores += [target(output) for output in self.model(image * ((masks - low) / (high - low + 1e-8)))]
            # the mean of a region's scores: the softmax of sums over thousands of pixels is 1 for one channel
            weights.append(torch.softmax(torch.stack(scores) / target.pixels, dim=0))
        return torch.stack(weights).cpu().numpy()


class _Ablation(_Raw):
    """Weigh a channel by the loss of score when it is set to 0; the paper's weight is a share of the score."""

    @torch.no_grad()
    def get_cam_weights(
        self, images: Tensor, layer: nn.Module, targets: list[Target], activations: Any, gradients: None
    ) -> NDArray[np.float32]:
        self.activations_and_grads.release()
        count = activations.shape[1]
        missing: list[int] = []

        def without(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            channels = output.movedim(self.layer.channel_axis(output), 1)
            for row, channel in enumerate(missing):
                channels[row, channel] = 0
            return output

        weights = []
        handle = layer.register_forward_hook(without)
        try:
            for image, target in zip(images, targets, strict=True):
                missing = []
                whole = target(self.model(image[None])[0])
                scores = []
                for chunk in _chunks(count):
                    missing = list(range(count))[chunk]
                    outputs = self.model(image.expand(len(missing), *image.shape))
                    scores += [whole - target(output) for output in outputs]
                weights.append(torch.stack(scores))
        finally:
            handle.remove()
        return torch.stack(weights).cpu().numpy()


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _AT_A_TIME) for start in range(0, count, _AT_A_TIME))

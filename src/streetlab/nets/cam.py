"""Class activation maps: what in an image speaks for a class (Grad-CAM, Selvaraju et al. 2017, arXiv:1610.02391)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.errors import UserError


def class_activation(network: nn.Module, images: Tensor, classes: Sequence[int] | Tensor) -> Tensor:
    """Grad-CAM of each image for its class, at the last stage of a classifier's features.

    The maps are raw: the sum of the stage's channels, each weighted by the mean gradient of the class's logit,
    negative sums cut to 0, resized bilinearly to the images. None is scaled by its own maximum, so that maps of
    one network can be compared.

    The network may be frozen or in training, and the caller in `inference_mode`: the maps are those of eval mode,
    and modes, `requires_grad` and gradients are afterwards what they were.

    Args:
        network: images to logits (B, K), with timm's `feature_info`.
        images: (B, 3, H, W) float32, normalised as the network takes them, on its device.
        classes: B class ids.

    Returns:
        (B, H, W) float32 on the CPU.

    Raises:
        UserError: the network names no last stage, or that stage makes no feature map.
        ValueError: another number of classes than images, or a class that the network does not have.
    """
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    wanted = [int(label) for label in classes]
    if len(wanted) != len(images) or min(wanted, default=0) < 0:
        raise ValueError(f"{len(images)} images but classes {wanted}: one for each image, from 0")
    stage, to_maps = _last_stage(network)
    with _left_as_it_was(network), torch.inference_mode(False), torch.enable_grad():
        # where all parameters are frozen, gradients flow because the images take them
        inputs = images.detach().clone().float().requires_grad_()
        engine = _engine()(network, [stage], to_maps)
        try:
            with torch.autocast(inputs.device.type, enabled=False):
                # called, not entered: the engine's context manager prints an IndexError and goes on
                maps = engine(inputs, [ClassifierOutputTarget(label) for label in wanted])
        except IndexError:
            raise ValueError(f"classes {wanted}: the network has {engine.outputs.shape[1]}") from None
        finally:
            engine.activations_and_grads.release()
    resized = F.interpolate(torch.from_numpy(maps)[:, None], images.shape[-2:], mode="bilinear", align_corners=False)
    return resized[:, 0]


@cache
def _engine() -> Any:
    """pytorch-grad-cam's GradCAM without its last steps, which stretch each map to 0..1 on its own."""
    from pytorch_grad_cam import GradCAM

    class RawGradCAM(GradCAM):
        def compute_cam_per_layer(self, input_tensor: Tensor, targets: list[Any], eigen_smooth: bool) -> np.ndarray:
            kept = self.activations_and_grads
            (activations,), (gradients,) = kept.activations, kept.gradients
            (stage,) = self.target_layers
            return self.get_cam_image(
                input_tensor, stage, targets, activations.numpy(), gradients.numpy(), eigen_smooth
            )

        def aggregate_multi_layers(self, cam_per_target_layer: np.ndarray) -> np.ndarray:
            return np.maximum(cam_per_target_layer, 0)

    return RawGradCAM


def _last_stage(network: Any) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """The module that timm names as the last stage, and what brings its output into the order (B, C, h, w)."""
    info: Any = getattr(network, "feature_info", None)
    if not info:
        raise UserError(f"Grad-CAM: {type(network).__name__} does not say which of its layers is the last stage")
    name = info[-1]["module"]
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def to_maps(output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise UserError(f"Grad-CAM: '{name}' of {type(network).__name__} makes no feature map")
        # a copy: the next layer may work in place
        return output.permute(0, 3, 1, 2).clone() if channels_last else output.clone()

    return network.get_submodule(name), to_maps


@contextmanager
def _left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Freeze the network for a while; its parameters' gradients are set aside."""
    modes = [(module, module.training) for module in network.modules()]
    state = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    try:
        network.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in state:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient

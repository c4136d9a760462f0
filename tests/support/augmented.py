"""Random photos, chosen draws and the configured augmentations, for tests of `loading/augment.py`."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
import yaml
from torch import Tensor

from streetlab.config.composition import config_folder
from streetlab.loading.augment import Augment
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD


def photos(count: int = 3, height: int = 40, width: int = 56, low: int = 0, high: int = 256) -> Tensor:
    """Smooth random pictures, uint8: neighbouring pixels differ little, as in photos."""
    coarse = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (low + smooth * (high - 1 - low)).round().to(torch.uint8)


def uniforms(count: int = 3, **values: float) -> np.ndarray:
    """Draws of one half (the middle of every range) but for those named."""
    places = {"area": 0, "ratio": 1, "left": 2, "top": 3, "flip": 4, "angle": 5, "shear": 6, "brightness": 7,
              "contrast": 8, "saturation": 9, "hue": 10, "grayscale": 11, "erase": 12,
              "zoom": 17, "weight": 18}  # fmt: skip
    u = np.full((count, 24), 0.5)
    for name, value in values.items():
        u[:, places[name]] = value
    return u


def colors(images: Tensor) -> Tensor:
    """Normalised images back to [0, 1]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return images * std + mean


def augmentations() -> dict[str, Augment]:
    found = {}
    for path in (config_folder() / "augment").glob("*.yaml"):
        settings = yaml.safe_load(path.read_text())
        settings.pop("_target_", None)
        found[path.stem] = Augment(**{key: settings[key] for key in settings if key in names()})
    return found


def names() -> set[str]:
    return {field.name for field in fields(Augment)}

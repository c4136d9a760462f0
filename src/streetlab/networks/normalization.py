"""Normalise images with ImageNet's statistics, or with those that a network was trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of red, green and blue in [0, 1], over the training images of ImageNet-1k; torchvision and timm use the same."""
IMAGENET_STD = (0.229, 0.224, 0.225)


class Renormalize(nn.Module):
    """ImageNet-normalised images to images normalised with another mean and standard deviation.

    (B, 3, H, W) to the same shape. Its constants move with the network but are no part of its state dict.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        given_mean, given_std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        needed_mean, needed_std = torch.tensor(mean), torch.tensor(std)
        self.register_buffer("scale", (given_std / needed_std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((given_mean - needed_mean) / needed_std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift

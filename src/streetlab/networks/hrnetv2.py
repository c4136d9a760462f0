"""HRNetV2 (Sun et al. 2019, arXiv:1904.04514): timm's backbone, fused bilinearly as in the original."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streetlab.errors import UserError
from streetlab.networks.groups import Groups
from streetlab.networks.hub_weights import without_waiting
from streetlab.networks.segmentation import (
    SegmentationOutput,
    check_choice,
    check_flag,
    check_options,
    crop,
    fulfil_contract,
    module_groups,
    pad_to_multiple,
    resize_logits,
)
from streetlab.networks.weights import hub_error, weights_source

HEADS = ("plain", "official", "custom")


class HRNetV2(nn.Module):
    """Images (B, 3, H, W) of any size to a `SegmentationOutput` of that size; features at 1/4.

    Sides that are no multiples of 32 are padded inside and cropped again.

    Args:
        backbone: returns four feature maps (B, C_i, h / 2^i, w / 2^i), the first at 1/4.
        last_layer: (B, sum of C_i, h, w) to logits; called as in the original code, whose keys it shares.

    Attributes:
        multiple: what sides are padded to.
        cam_layer: the coarsest branch before it is fused for the last time. At the input of the last layer, which
            may be a single 1×1 convolution, an activation map would be that class's logits over again.
    """

    multiple = 32

    def __init__(self, backbone: Any, last_layer: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.last_layer = last_layer
        self.cam_layer = f"backbone.stage4.{len(backbone.stage4) - 1}.branches.3"

    def forward(self, images: Tensor) -> SegmentationOutput:
        padded = pad_to_multiple(images, self.multiple)
        finest, *coarser = self.backbone(padded)
        # by a factor, which an exported graph knows beforehand: ONNX Runtime is then several times faster than by size
        resized = [
            F.interpolate(x, scale_factor=2.0**step, mode="bilinear", align_corners=False)
            for step, x in enumerate(coarser, 1)
        ]
        logits = self.last_layer(torch.cat([finest, *resized], dim=1))
        return SegmentationOutput(crop(resize_logits(logits, padded.shape[-2:]), images.shape[-2:]))


def hrnetv2(
    num_classes: int,
    width: int = 48,
    weights: str | Path | None = "none",
    head: str = "plain",
    dropout: float = 0.0,
    small: bool = False,
) -> nn.Module:
    """HRNetV2 with one of three heads on its four concatenated resolutions (720 channels at width 48).

    It takes images (B, 3, H, W), float32 and normalised with ImageNet's mean and standard deviation.

    Args:
        num_classes: K of the logits (B, K, H, W).
        width: channels of the finest resolution: 18, 30, 32, 40, 44, 48 or 64.
        weights: `none` (random); `imagenet` (the backbone, timm's own from its hub); or a file: a checkpoint of
            the original code (HRNet-Semantic-Segmentation; with `head=official` key for key, else its backbone
            alone), one of streetlab, or timm's classifier of that width for the backbone.
        head: `plain`, one 1×1 convolution; `official`, another of as many channels as come in before it, with
            BatchNorm and ReLU; `custom`, a 3×3 convolution to 256 channels, BatchNorm and ReLU before it.
        dropout: probability before the last layer, in every head.
        small: fewer blocks and narrower coarse branches, as the original code's W18-Small-v1; width 18 alone has it.

    Returns:
        The network with the attributes of `streetlab.networks.segmentation.fulfil_contract`. Its groups: `head`,
        `backbone`, `stem`, `layer1`, `transition1`, `stage2`, ..., `stage4` and `all`.

    Raises:
        UserError: a wrong choice; no network to fetch the weights; an unfit file.
    """
    check_options(num_classes, dropout)
    check_choice("head", head, HEADS)
    check_flag("small", small)
    _check_width(width)
    source = weights_source(weights)
    if small and width != 18:
        raise UserError(f"model.small: only width 18 has a small version, not {width}; model.small=false")
    name = f"hrnet_w{width}{'_small' * small}"
    backbone = _backbone(name, source == "imagenet")
    channels = sum(backbone.feature_info.channels())
    network = HRNetV2(backbone, _head(head, channels, num_classes, dropout))
    file = None if source in ("none", "imagenet") else source
    title = name.replace("hrnet", "hrnetv2")
    return fulfil_contract(network, title, num_classes, _groups(network), file, parts=("backbone",))


def _backbone(name: str, pretrained: bool) -> Any:
    options: dict[str, Any] = {"features_only": True, "feature_location": "", "out_indices": (1, 2, 3, 4)}
    try:
        with without_waiting(pretrained):
            backbone = timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # what goes wrong on the way to the hub differs by its client
        if not pretrained:
            raise
        raise hub_error("imagenet", name, "timm's hub", error) from error
    for module in backbone.modules():
        if isinstance(module, nn.Upsample):
            # timm's "nearest" is not what the published weights were trained with
            module.mode, module.align_corners = "bilinear", False
    return backbone


def _head(head: str, channels: int, num_classes: int, dropout: float) -> nn.Module:
    """The last layers. Each kind has keys of its own, so that a file of one never half fills another."""
    drop = nn.Dropout(dropout)
    if head == "official":
        # dropout in the ReLU's place: the last convolution stays number 3
        activation = nn.Sequential(nn.ReLU(), drop) if dropout else nn.ReLU()
        return nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), activation, nn.Conv2d(channels, num_classes, 1)
        )
    if head == "plain":
        return nn.Sequential(OrderedDict(dropout=drop, conv1x1=nn.Conv2d(channels, num_classes, 1)))
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, 256, 3, padding=1, bias=False),
            bn=nn.BatchNorm2d(256),
            relu=nn.ReLU(),
            dropout=drop,
            classifier=nn.Conv2d(256, num_classes, 1),
        )
    )


def _groups(network: HRNetV2) -> Groups:
    stem = tuple(f"backbone.{name}" for name in ("conv1", "bn1", "conv2", "bn2"))
    groups: Groups = {"head": ("last_layer",), "backbone": ("backbone",), "stem": stem}
    return groups | module_groups(network.backbone, "backbone") | {"all": ("backbone", "last_layer")}


def _check_width(width: int) -> None:
    found = (re.fullmatch(r"hrnet_w(\d+)", name) for name in timm.list_models("hrnet_w*"))
    widths = sorted(int(match[1]) for match in found if match)
    if width not in widths:
        hint = ""
        if isinstance(width, int | float):
            hint = f"; the nearest is {min(widths, key=lambda known: abs(known - width))}"
        raise UserError(f"model.width={width}: HRNetV2 has the widths {', '.join(map(str, widths))}{hint}")

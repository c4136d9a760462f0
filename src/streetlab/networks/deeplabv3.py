"""DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) of torchvision, key for key, with streetlab's contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights
from torchvision.models.segmentation import (
    DeepLabV3_ResNet50_Weights,
    DeepLabV3_ResNet101_Weights,
    deeplabv3_resnet50,
    deeplabv3_resnet101,
)
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from streetlab.errors import UserError
from streetlab.networks.groups import Groups
from streetlab.networks.segmentation import (
    SegmentationOutput,
    check_choice,
    check_flag,
    check_options,
    fulfil_contract,
    module_groups,
    resize_logits,
)
from streetlab.networks.weights import hub_error, weights_source

_BUILDERS: dict[str, Any] = {"resnet50": deeplabv3_resnet50, "resnet101": deeplabv3_resnet101}
_HUB: dict[str, dict[str, Any]] = {
    "imagenet": {"resnet50": ResNet50_Weights.IMAGENET1K_V1, "resnet101": ResNet101_Weights.IMAGENET1K_V1},
    "coco": {
        "resnet50": DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1,
        "resnet101": DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1,
    },
}


class DeepLabV3(nn.Module):
    """Images (B, 3, H, W) of any size to a `SegmentationOutput` of that size; features at 1/8.

    Args:
        backbone: returns `out` and, for the auxiliary head, `aux`: torchvision's `IntermediateLayerGetter`.
        classifier: features to logits (torchvision's `DeepLabHead`).
        aux_classifier: the same for `aux`, or None. It runs in eval mode too, as torchvision's does.

    Attributes:
        cam_layer: the backbone's last features, from which ASPP gathers a pixel's surroundings.
    """

    cam_layer = "backbone.layer4"

    def __init__(self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Logits (B, K, H, W) of images (B, 3, H, W), with those of the auxiliary head where there is one.

        Raises:
            UserError: a batch of one image in training.
        """
        # ASPP averages each image to one pixel, over which BatchNorm has no variance to compute
        if self.training and len(images) == 1 and self._normalizes_batches():
            raise UserError(
                "DeepLabV3 can't be trained on a batch of one image (its pooled BatchNorm needs two): "
                "use a batch size of at least 2 and drop the last, smaller batch"
            )
        size = images.shape[-2:]
        features = self.backbone(images)
        logits = resize_logits(self.classifier(features["out"]), size)
        if self.aux_classifier is None:
            return SegmentationOutput(logits)
        return SegmentationOutput(logits, resize_logits(self.aux_classifier(features["aux"]), size))

    def _normalizes_batches(self) -> bool:
        return any(module.training for module in self.classifier.modules() if isinstance(module, nn.BatchNorm2d))


def deeplabv3(
    num_classes: int,
    backbone: str = "resnet50",
    weights: str | Path | None = "none",
    aux: bool = True,
    dropout: float = 0.0,
    atrous_rates: Sequence[int] = (12, 24, 36),
) -> nn.Module:
    """DeepLabV3 whose state dict and, with equal weights, logits are torchvision's.

    It takes images (B, 3, H, W), float32 and normalised with ImageNet's mean and standard deviation.

    Args:
        num_classes: K of the logits (B, K, H, W).
        backbone: `resnet50` or `resnet101`, dilated to stride 8.
        weights: `none` (random); `imagenet` (the backbone, torchvision's IMAGENET1K_V1); `coco` (all of it but
            the last layers, COCO_WITH_VOC_LABELS_V1); or a file: a DeepLabV3 of torchvision or streetlab, or a
            ResNet of torchvision or timm for the backbone.
        aux: with the auxiliary head on layer3 (2.4 M parameters). A file with it loads without it as well.
        dropout: probability before the last layer, besides the 0.5 that torchvision has after ASPP.
        atrous_rates: of ASPP's 3×3 convolutions, in features, each 8 pixels apart. (6, 12, 18) suits images of
            512×256 pixels, where the largest of the default mostly reads padding.

    Returns:
        The network with the attributes of `streetlab.networks.segmentation.fulfil_contract`. Its groups: `head`
        (both classifiers, ASPP included), `classifier`, `aux_classifier`, `backbone`, `stem`, `conv1`,
        ..., `layer4` and `all`.

    Raises:
        UserError: a wrong choice; no network to fetch the weights; an unfit file.
    """
    check_options(num_classes, dropout)
    check_choice("backbone", backbone, tuple(_BUILDERS))
    check_flag("aux", aux)
    rates = _checked_rates(atrous_rates)
    source = weights_source(weights, tuple(_HUB))
    name = f"deeplabv3_{backbone}"
    file: str | Path | None = source
    if source in _HUB:
        file = _fetch(source, name, _HUB[source][backbone])
    elif source == "none":
        file = None

    built = _BUILDERS[backbone](weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=aux)
    classifier = DeepLabHead(2048, num_classes, rates)  # torchvision's builders take no rates
    if dropout:
        # inside the place of the ReLU, which has no weights: the last layer keeps its number
        classifier[3] = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
    network = DeepLabV3(built.backbone, classifier, built.aux_classifier)
    return fulfil_contract(network, name, num_classes, _groups(network), file, parts=("backbone",))


def _groups(network: DeepLabV3) -> Groups:
    head = ("classifier",) if network.aux_classifier is None else ("classifier", "aux_classifier")
    groups: Groups = {"head": head, "backbone": ("backbone",), "stem": ("backbone.conv1", "backbone.bn1")}
    groups |= module_groups(network.backbone, "backbone")
    groups |= {name: (name,) for name in head}
    return {**groups, "all": ("backbone", *head)}


def _checked_rates(atrous_rates: Sequence[int]) -> tuple[int, ...]:
    rates = tuple(atrous_rates) if isinstance(atrous_rates, Sequence) else ()
    if not rates or not all(isinstance(rate, int) and rate > 0 for rate in rates):
        raise UserError(f"model.atrous_rates={atrous_rates}: a list of whole numbers above 0 such as [6, 12, 18]")
    return rates


def _fetch(source: str, name: str, weights: Any) -> Path:
    """The file of torchvision's weights in the cache of torch.hub, downloaded where it is not there yet."""
    try:
        weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # of urllib, of the disk, or a RuntimeError for a wrong checksum
        raise hub_error(source, name, "torchvision's hub", error) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name

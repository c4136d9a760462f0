"""The IoU of outlines: how well masks agree in a band along their edges, exact under DDP."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from streetlab.datasets.labels import IGNORE_INDEX

DILATION = 0.02
"""Width of the band as a share of the image's diagonal, as the paper has it."""


class BoundaryIoU(Metric):
    """The IoU of each class within a band along its outlines, over all images together.

    After Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (CVPR): of truth and
    prediction, only the pixels of the class count that lie within `d` pixels (the larger of both coordinates) of one
    that is not of it; outside the image nothing is. `d` is 2% of the diagonal, at least 1. As with IoU, intersections
    and unions are added up over the images. Pixels ignored in the truth are of no class in either map.

    Args:
        num_classes: K.
        dilation: share of the diagonal.
        ignore_index: the mask's value of pixels that count for nothing.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    counts: Tensor

    def __init__(
        self, num_classes: int, dilation: float = DILATION, ignore_index: int = IGNORE_INDEX, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.dilation, self.ignore_index = num_classes, dilation, ignore_index
        self.add_state("counts", default=torch.zeros(3, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, masks: Tensor) -> None:
        """Count one batch: (B, H, W) integer class ids, and (B, H, W) int64 true ids or `ignore_index`.

        Raises:
            ValueError: shapes that differ.
        """
        if predictions.shape != masks.shape or masks.ndim != 3:
            raise ValueError(f"predictions {tuple(predictions.shape)} and masks {tuple(masks.shape)}: (B, H, W) twice")
        counted = masks != self.ignore_index
        predicted = torch.where(counted, predictions.long(), self.num_classes)
        truth = torch.where(counted, masks.long(), self.num_classes)
        distance = max(1, round(self.dilation * math.hypot(*masks.shape[1:])))
        of_prediction = near_edges(predicted, distance) & counted
        of_truth = near_edges(truth, distance) & counted
        k = self.num_classes
        both = of_prediction & of_truth & (predicted == truth)
        counts = [_per_class(truth, both, k), _per_class(predicted, of_prediction, k), _per_class(truth, of_truth, k)]
        # not in place: states that were reset in inference mode could not be written outside it
        self.counts = self.counts + torch.stack(counts)

    def compute(self) -> dict[str, Any]:
        """`per_class`: a list of K floats, NaN for a class without any outline; `mean`: a float over the others."""
        hits, predicted, true = self.counts.double().cpu()
        per_class = hits / (predicted + true - hits)  # 0 / 0 is the NaN that is wanted
        return {"per_class": per_class.tolist(), "mean": float(per_class.nanmean())}


def near_edges(labels: Tensor, distance: int) -> Tensor:
    """(B, H, W) bool: pixels with another label, or the image's end, at most `distance` rows and columns away."""
    values = labels[:, None].float()  # labels up to 2**24 are exact
    far = torch.ones_like(values, dtype=torch.bool)
    if 2 * distance < min(values.shape[-2:]):
        # the extremes of a square around them, of its lines first; a square across the image's end is not pooled
        highest, lowest = (_window_max(signed, distance) for signed in (values, -values))
        far[..., distance:-distance, distance:-distance] = highest != -lowest
    return far[:, 0]


def _window_max(values: Tensor, distance: int) -> Tensor:
    lines = F.max_pool2d(values, (1, 2 * distance + 1), stride=1)
    return F.max_pool2d(lines, (2 * distance + 1, 1), stride=1)


def _per_class(labels: Tensor, where: Tensor, k: int) -> Tensor:
    """(K,) int64 counts of the labels below K; not with `bincount`, which waits for the device."""
    counted = where.flatten().long()
    return counted.new_zeros(k + 1).index_add(0, labels.flatten(), counted)[:k]

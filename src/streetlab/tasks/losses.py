"""Losses beyond torch's own: hard examples only, and sums of cross-entropy with a region loss."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.data.index.labels import IGNORE_INDEX
from streetlab.errors import UserError


class OhemCrossEntropy(nn.Module):
    """Mean cross-entropy over the hardest share of samples or pixels (online hard example mining, Shrivastava 2016).

    Args:
        keep: the share that counts, of those that are not ignored.
        ignore_index: label that counts for nothing.
    """

    def __init__(self, keep: float = 0.25, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise UserError(f"loss.keep: {keep} is not a share above 0 and at most 1")
        self.keep, self.ignore_index = keep, ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits `(B, K)` or `(B, K, H, W)`, labels `(B,)` or `(B, H, W)`; zero where every label is ignored."""
        losses = F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction="none").flatten()
        losses = losses[labels.flatten() != self.ignore_index]
        if not len(losses):
            return logits.sum() * 0.0
        return losses.topk(max(1, round(self.keep * len(losses)))).values.mean()


class RegionAndCrossEntropy(nn.Module):
    """`cross_entropy_weight` · cross-entropy + `region_weight` · Dice or Lovász loss over all classes.

    Args:
        region: `dice` (Milletari et al. 2016) or `lovasz` (Berman et al. 2018), both as in
            segmentation-models-pytorch.
        cross_entropy_weight, region_weight: factors of the two.
        ignore_index: label that counts for nothing.
    """

    def __init__(
        self,
        region: str,
        cross_entropy_weight: float = 1.0,
        region_weight: float = 1.0,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        losses = {"dice": smp.losses.DiceLoss, "lovasz": smp.losses.LovaszLoss}
        if region not in losses:
            raise UserError(f"loss.region: '{region}' is not one of {', '.join(losses)}")
        self.region: nn.Module = losses[region](mode="multiclass", ignore_index=ignore_index, from_logits=True)
        self.weights = cross_entropy_weight, region_weight
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits `(B, K)` or `(B, K, H, W)`, labels `(B,)` or `(B, H, W)`; zero where every label is ignored."""
        if not torch.any(labels != self.ignore_index):
            return logits.sum() * 0.0
        cross_entropy = F.cross_entropy(logits, labels, ignore_index=self.ignore_index)
        if logits.ndim == 2:  # a photo's label is a mask of one pixel
            logits, labels = logits[..., None, None], labels[..., None, None]
        return self.weights[0] * cross_entropy + self.weights[1] * self.region(logits, labels)

"""Losses that leave out ignored labels: cross-entropy, OHEM, Dice, Lovász, weighted sums.

All take float32 logits `(B, K)` of photos or `(B, K, H, W)` of pixels, int64 labels `(B,)` or `(B, H, W)`, and give
a scalar. The cross-entropies also take probabilities `(B, K)` of classes for the labels of photos. Where every label
is ignored that is zero with zero gradients, not torch's NaN: DDP's ranks and an accumulation window then go on in
step. Only Lovász waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.errors import UserError, did_you_mean
from streetlab.tasks.class_weights import weight_rule

ClassWeights = Sequence[float] | str | Mapping[str, float] | None
"""A number above 0 for each class, or a rule of `tasks.class_weights`."""


class ClassWeighted(nn.Module):
    """Holds the classes' weights; they follow the module's device and are no part of a checkpoint.

    Attributes:
        rule: what the weights follow from, where they are not given; `weigh` then has to be called.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: ClassWeights, ignore_index: int) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.rule = weight_rule(class_weights)
        given: Any = class_weights if self.rule is None else None
        if given is not None and (
            not isinstance(given, Sequence)
            or not given
            or not all(is_number(weight) and weight > 0 for weight in given)
        ):
            raise UserError(f"loss.class_weights: {given} is not a list of numbers above 0, one per class")
        tensor = None if given is None else torch.tensor(given, dtype=torch.float32)
        self.register_buffer("class_weights", tensor, persistent=False)

    def weigh(self, counts: Sequence[int]) -> None:
        """Take the weights that the rule gives classes with that many training photos each."""
        if self.rule is not None:
            self.class_weights = torch.tensor(self.rule.weights(counts), dtype=torch.float32)

    def _fit(self, logits: Tensor) -> None:
        if self.rule is not None and self.class_weights is None:
            raise RuntimeError(f"class_weights={self.rule.name} needs the number of photos of each class: weigh()")
        if self.class_weights is not None and len(self.class_weights) != logits.shape[1]:
            raise UserError(f"loss.class_weights: {len(self.class_weights)} numbers for the {logits.shape[1]} classes")

    def _valid(self, labels: Tensor) -> Tensor:
        return labels.sum(dim=1) > 0 if labels.is_floating_point() else labels != self.ignore_index

    def _counts(self, labels: Tensor) -> Tensor:
        """The float32 weight of each label: its class's weight, the mean of several; zero where it is ignored."""
        if labels.is_floating_point():
            return (labels if self.class_weights is None else labels * self.class_weights).sum(dim=1)
        valid = self._valid(labels)
        if self.class_weights is None:
            return valid.float()
        return self.class_weights[labels.masked_fill(~valid, 0)] * valid

    def _losses(self, logits: Tensor, labels: Tensor, reduction: str, label_smoothing: float = 0.0) -> Tensor:
        # with probabilities torch takes its default alone, which then ignores nothing
        ignored = -100 if labels.is_floating_point() else self.ignore_index
        return F.cross_entropy(
            logits, labels, self.class_weights, ignore_index=ignored, reduction=reduction,
            label_smoothing=label_smoothing,
        )  # fmt: skip

    def _mean(self, total: Tensor, counts: Tensor) -> Tensor:
        """`total` over the sum of counts; zero for zero over zero, where nothing counts."""
        least = 1.0 if self.class_weights is None else self.class_weights.min()
        return total / counts.sum().clamp(min=least)


class CrossEntropy(ClassWeighted):
    """Mean cross-entropy over the valid labels: equals `torch.nn.CrossEntropyLoss` wherever a label is valid.

    Args:
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy et al. 2016).
        class_weights: one number above 0 per class, or a `WeightRule`; the mean is the weighted one, as torch's.
        ignore_index: label that counts for nothing.

    Raises:
        UserError: a setting is out of range; in `forward`, the weights are not as many as the classes.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(class_weights, ignore_index)
        if not is_number(label_smoothing) or not 0 <= label_smoothing <= 1:
            raise UserError(f"loss.label_smoothing: {label_smoothing} is not a share (0 to 1)")
        self.label_smoothing = float(label_smoothing)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self._fit(logits)
        total = self._losses(logits, labels, "sum", self.label_smoothing)
        return self._mean(total, self._counts(labels))

    def of_log_probabilities(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        if self.label_smoothing or labels.is_floating_point():
            return self(log_probabilities, labels)
        self._fit(log_probabilities)
        total = F.nll_loss(
            log_probabilities, labels, self.class_weights, ignore_index=self.ignore_index, reduction="sum"
        )
        return self._mean(total, self._counts(labels))


class OhemCrossEntropy(ClassWeighted):
    """Mean cross-entropy over the hardest share of samples or pixels (online hard example mining, Shrivastava 2016).

    The share is taken of the batch's valid labels together, at least one of them. With class weights the hardest are
    those with the largest weighted loss, and the mean is the weighted one: `keep=1` is `CrossEntropy`.

    Args:
        keep: the share that counts, of those that are not ignored.
        ignore_index: label that counts for nothing.
        class_weights: one number above 0 per class, or a `WeightRule`.

    Raises:
        UserError: a setting is out of range; in `forward`, the weights are not as many as the classes.
    """

    def __init__(
        self,
        keep: float = 0.25,
        ignore_index: int = IGNORE_INDEX,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(class_weights, ignore_index)
        if not is_number(keep) or not 0 < keep <= 1:
            raise UserError(f"loss.keep: {keep} is not a share above 0 and at most 1")
        self.keep = float(keep)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self._fit(logits)
        losses = self._losses(logits, labels, "none").flatten()
        valid = self._valid(labels).flatten()
        # How many are valid is known on the device only: rank as many as the whole batch could keep, then cut.
        most = max(1, round(self.keep * losses.numel()))
        hardest, where = losses.masked_fill(~valid, -1.0).topk(most)
        share = (self.keep * valid.sum()).round().clamp(min=1)
        kept = (torch.arange(most, device=losses.device) < share) & valid[where]
        total = torch.where(kept, hardest, 0.0).sum()
        return self._mean(total, self._counts(labels).flatten()[where] * kept)


class DiceLoss(nn.Module):
    """One minus the Dice coefficient of softmax and truth over the batch's valid pixels, averaged over classes.

    1 - 2·Σpy / Σ(p + y) per class (Milletari et al. 2016); absent classes add zero to the mean over all K. It is
    segmentation-models-pytorch's `DiceLoss` in less than half the time, since no one-hot labels are made: the library's
    costs 10% of a step more under an FPN on ResNet-18, 16% under a smaller encoder (512x256, 19 classes, one core).

    Args:
        ignore_index: label that counts for nothing.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._of(logits.float().softmax(dim=1), labels)

    def of_log_probabilities(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        return self._of(log_probabilities.exp(), labels)

    def _of(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        probabilities, labels = _as_maps(probabilities, labels)
        valid = labels != self.ignore_index
        classes = labels.where(valid, 0)
        counted = valid.to(probabilities.dtype)
        of_truth = probabilities.gather(1, classes[:, None])[:, 0] * counted
        zeros = probabilities.new_zeros(probabilities.shape[1])
        overlap = zeros.index_add(0, classes.flatten(), of_truth.flatten())
        truth = zeros.index_add(0, classes.flatten(), counted.flatten())
        with torch.autocast(labels.device.type, enabled=False):  # which would sum in half precision
            predicted = torch.einsum("bkhw,bhw->k", probabilities, counted)
        dice = 2 * overlap / (predicted + truth).clamp_min(torch.finfo(torch.float32).tiny)
        return ((1 - dice) * (truth > 0)).mean()


class LovaszLoss(nn.Module):
    """Lovász-Softmax over the batch's valid pixels, the mean over the classes present (Berman et al. 2018).

    On the CPU it is segmentation-models-pytorch's. That one picks out the valid pixels and the classes present, so that
    the host has to wait for a GPU once for each class; elsewhere `lovasz_softmax` gives the same value without.

    Args:
        ignore_index: label that counts for nothing.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.loss = smp.losses.LovaszLoss(mode="multiclass", ignore_index=ignore_index, from_logits=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits, labels = _as_maps(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):  # it fails in half precision
            if logits.device.type != "cpu":
                return lovasz_softmax(logits.float().softmax(dim=1), labels, self.ignore_index)
            # with no valid pixel the library's is an empty tensor; the sum makes that zero
            return self.loss(logits.float(), labels).sum()


def lovasz_softmax(probabilities: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Compute Lovász-Softmax over a batch's valid pixels without asking the device how many there are.

    Algorithm 1 of Berman et al. 2018, arXiv:1705.08790, class by class, since all at once would hold K sorted batches.

    Args:
        probabilities: `(B, K, H, W)` float32.
        labels: `(B, H, W)` int64.
        ignore_index: label that counts for nothing.

    Returns:
        the mean over the classes present; zero where no pixel is valid.
    """
    truth = labels.flatten()
    ignored = truth == ignore_index
    total = present = probabilities.new_zeros(())
    for label, scores in enumerate(probabilities.movedim(1, 0).flatten(1)):
        of_class = (truth == label).to(scores.dtype)
        # ignored pixels come last, where they change no other's weight, and their error is zero
        errors, order = (of_class - scores).abs().masked_fill(ignored, -1.0).sort(descending=True)
        sorted_truth = of_class[order]
        count = sorted_truth.sum()
        jaccard = 1 - (count - sorted_truth.cumsum(0)) / (count + (1 - sorted_truth).cumsum(0))
        weights = jaccard.diff(prepend=jaccard.new_zeros(1))
        is_present = (count > 0).to(scores.dtype)
        total = total + is_present * torch.dot(errors.clamp(min=0), weights)
        present = present + is_present
    return total / present.clamp(min=1)


def _as_maps(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A photo's label is a mask of one pixel."""
    if labels.is_floating_point():
        raise ValueError("an overlap is of classes, not of probabilities")
    return (logits[..., None, None], labels[..., None, None]) if logits.ndim == 2 else (logits, labels)


_SHARED = "of_log_probabilities"
"""Method of losses that can begin from log-probabilities (B, K, ...), which then are computed once for all of them."""


class WeightedSum(nn.Module):
    """The sum of losses, each times its weight; a loss of weight zero is not computed.

    Args:
        losses: the losses by name.
        weights: a number from 0 for each, by the same names; one at least above 0.

    Raises:
        UserError: the names disagree, or a weight is none.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        for name in weights:
            if name not in losses:
                near = did_you_mean(name, losses)
                raise UserError(f"loss.weights.{name}: no loss of that name (there are {', '.join(losses)}){near}")
        for name in losses:
            if name not in weights:
                raise UserError(f"loss.losses.{name}: no weight of that name in loss.weights")
        for name, weight in weights.items():
            if not is_number(weight) or weight < 0:
                raise UserError(f"loss.weights.{name}: {weight} is not a number from 0")
        if not any(weights.values()):
            raise UserError(f"loss.weights: {dict(weights)} leaves no loss to train on")
        self.losses, self.weights = nn.ModuleDict(losses), dict(weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        weighted = [(self.losses[name], weight) for name, weight in self.weights.items() if weight]
        sharing = [loss for loss, _ in weighted if hasattr(loss, _SHARED)]
        shared = logits.float().log_softmax(dim=1) if len(sharing) > 1 else None
        parts = []
        for loss, weight in weighted:
            if shared is not None and loss in sharing:
                parts.append(getattr(loss, _SHARED)(shared, labels) * weight)
            else:
                parts.append(loss(logits, labels) * weight)
        return torch.stack(parts).sum()


def is_number(value: object) -> bool:
    """Tell whether a setting is a finite number and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""Metrics that are exact under DDP: mean loss, confusion matrices of labels and masks, boundary F-score of masks.

Their updates never wait for the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from streetlab.datasets.labels import IGNORE_INDEX


class MeanLoss(Metric):
    """The mean over images of a loss that is known as the mean of each batch.

    Exact where processes saw different numbers of images: Lightning's own mean of a logged value (2.6) rounds the
    number of images per process down.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Count one batch: its mean loss, a scalar, and how many images it had."""
        # not in place: a tensor that was reset in inference mode could only be changed there
        self.total = self.total + loss * images
        self.count = self.count + images

    def compute(self) -> Tensor:
        """A scalar, float32; NaN where no image was seen."""
        return self.total / self.count


class Confusion(Metric):
    """The (K, K) confusion matrix of labels of whole photos; the row is the true class.

    torchmetrics' own (1.9) counts with `bincount`, which waits for the device once a batch.

    Args:
        num_classes: K.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    counts: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", default=empty, dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Count one batch: (B,) integer class ids twice, on one device."""
        self.counts = (
            self.counts + confusions_of(predictions[None, :, None], labels[None, :, None], self.num_classes)[0]
        )

    def compute(self) -> NDArray[np.int64]:
        """(K, K) int64.

        Raises:
            ValueError: an id was outside 0..K-1.
        """
        return _without_stray(self.counts.cpu().numpy(), self.num_classes)


class ImageConfusions(Metric):
    """The (K, K) confusion matrix of each image, kept by the image's row in its split.

    The sum over images gives every number of the split, also where ranks saw different counts of images or none
    at all; a row that a sampler repeated to even the ranks counts once.

    Args:
        num_classes: K.
        ignore_index: pixels of the mask with this value are counted nowhere.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    rows: list[Tensor] | Tensor
    matrices: list[Tensor] | Tensor

    def __init__(self, num_classes: int, ignore_index: int = IGNORE_INDEX, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("matrices", default=[], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, masks: Tensor, rows: Tensor) -> None:
        """Count one batch, on the device of the inputs.

        Args:
            predictions: (B, H, W) integer class ids.
            masks: (B, H, W) int64 true class ids or `ignore_index`.
            rows: (B,) int64, the position of each image in its split.

        Raises:
            ValueError: shapes that differ.
        """
        if predictions.shape != masks.shape or masks.ndim != 3 or rows.shape != masks.shape[:1]:
            raise ValueError(
                f"predictions {tuple(predictions.shape)}, masks {tuple(masks.shape)} and rows {tuple(rows.shape)}: "
                "(B, H, W) twice and (B,) are expected"
            )
        matrices = confusions_of(predictions, masks, self.num_classes, self.ignore_index)
        assert isinstance(self.rows, list)
        assert isinstance(self.matrices, list)
        self.rows.append(rows.to(device=matrices.device, dtype=torch.int64))
        self.matrices.append(matrices)

    def compute(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows (N,) in ascending order without repeats, and their matrices (N, K, K) int64.

        NumPy arrays, since torchmetrics takes all axes from a tensor of one element: one image, one class.

        Raises:
            ValueError: an id was outside 0..K-1 on a pixel that counts.
        """
        self._fill_empty()
        rows, matrices = dim_zero_cat(self.rows), dim_zero_cat(self.matrices)
        rows, order = torch.sort(rows, stable=True)
        first = torch.ones_like(rows, dtype=torch.bool)
        first[1:] = rows[1:] != rows[:-1]
        counts = matrices[order[first]].cpu().numpy()
        return rows[first].cpu().numpy(), _without_stray(counts, self.num_classes)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the processes' states; see `torchmetrics.Metric.sync`."""
        # a rank without an image would send a float vector, while the others send int64 of other dimensions
        self._fill_empty()
        super().sync(*args, **kwargs)

    def _fill_empty(self) -> None:
        if isinstance(self.rows, list) and isinstance(self.matrices, list) and not self.rows:
            k = self.num_classes
            self.rows.append(torch.empty(0, dtype=torch.int64, device=self.device))
            self.matrices.append(torch.empty(0, k, k + 1, dtype=torch.int64, device=self.device))


def confusions_of(predictions: Tensor, masks: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """(B, K, K + 1) int64 counts of a batch (B, H, W); the row is the true class. Memory is O(B·H·W).

    The last column counts pixels whose ids are outside 0..K-1, in whatever row: whether there are any is known on the
    device only, and asking for it would wait for the device. Each image costs a tenth of what bincount does.
    """
    k = num_classes
    # int64 before any arithmetic: uint8 wraps at 18 * 19
    truth, predicted = masks.long(), predictions.long()
    inside = (truth >= 0) & (truth < k) & (predicted >= 0) & (predicted < k)
    cells = torch.where(inside, truth * (k + 1) + predicted, k)
    counted = (masks != ignore_index).long()
    empty = torch.zeros(len(masks), k * (k + 1), dtype=torch.int64, device=masks.device)
    return empty.scatter_add(1, cells.flatten(1), counted.flatten(1)).view(-1, k, k + 1)


def _without_stray(counts: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """The counts without their last column; a ValueError where something stands in it."""
    if stray := int(counts[..., num_classes].sum()):
        raise ValueError(f"{stray} true or predicted ids are outside 0..{num_classes - 1} (ignored ones aside)")
    return np.ascontiguousarray(counts[..., :num_classes])


class BoundaryScore(Metric):
    """The boundary F-score per class: how well outlines are met, whatever the areas inside them.

    After Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?" (BMVC). For each image
    and class, precision is the share of predicted boundary pixels with a true one within `tolerance`, recall the
    share of true ones with a predicted one within it; F is their harmonic mean. A class scores the mean F over the
    images where it has a boundary in truth or prediction, so 0 where it has one in only one of the two.

    Boundary pixels are those of the class with a 4-neighbour of another class. The image's border is no boundary,
    and pixels ignored in the truth take part in neither map and make no boundary.

    Args:
        num_classes: K.
        tolerance: Euclidean distance in pixels, itself included; None is 0.75% of the image's diagonal as in the
            paper, and at least 1.
        ignore_index: the mask's value of pixels that count for nothing.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    scores: Tensor
    images: Tensor

    def __init__(
        self, num_classes: int, tolerance: float | None = None, ignore_index: int = IGNORE_INDEX, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if tolerance is not None and not tolerance >= 0:
            raise ValueError(f"tolerance: found {tolerance}, allowed 0 or more pixels, or None")
        self.num_classes, self.tolerance, self.ignore_index = num_classes, tolerance, ignore_index
        # float32: not every accelerator has float64
        self.add_state("scores", default=torch.zeros(num_classes), dist_reduce_fx="sum")
        self.add_state("images", default=torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, masks: Tensor) -> None:
        """Score one batch: (B, H, W) integer class ids, and (B, H, W) int64 true ids or `ignore_index`.

        Raises:
            ValueError: shapes that differ.
        """
        if predictions.shape != masks.shape or masks.ndim != 3:
            raise ValueError(f"predictions {tuple(predictions.shape)} and masks {tuple(masks.shape)}: (B, H, W) twice")
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = max(1.0, 0.0075 * math.hypot(*masks.shape[1:]))
        counted = masks != self.ignore_index
        true_edges = label_boundaries(masks, counted)
        predicted_edges = label_boundaries(predictions, counted)
        scores, images = [], []
        # one class at a time: all at once would hold K times the batch
        for index in range(self.num_classes):
            truth, predicted = true_edges & (masks == index), predicted_edges & (predictions == index)
            n_truth, n_predicted = truth.sum(dim=(1, 2)), predicted.sum(dim=(1, 2))
            found = (truth & dilate(predicted, tolerance)).sum(dim=(1, 2))
            right = (predicted & dilate(truth, tolerance)).sum(dim=(1, 2))
            # where there are no boundary pixels there is nothing right either, so the clamp leaves 0
            precision = right / n_predicted.clamp(min=1)
            recall = found / n_truth.clamp(min=1)
            both = precision + recall
            f = torch.where(both > 0, 2 * precision * recall / both.clamp(min=1e-12), 0.0)
            scores.append(f.sum())
            images.append(((n_truth + n_predicted) > 0).sum())
        # not in place: states that were reset in inference mode could not be written outside it
        self.scores, self.images = self.scores + torch.stack(scores), self.images + torch.stack(images)

    def compute(self) -> dict[str, Any]:
        """`per_class`: a list of K floats, NaN for a class without any boundary; `mean`: a float over the others."""
        per_class = self.scores / self.images  # 0 / 0 is the NaN that is wanted
        return {"per_class": per_class.tolist(), "mean": float(per_class.nanmean())}


def label_boundaries(labels: Tensor, counted: Tensor) -> Tensor:
    """(B, H, W) bool: counted pixels with a counted 4-neighbour of another label."""
    edges = torch.zeros_like(counted)
    across = (labels[:, :, 1:] != labels[:, :, :-1]) & counted[:, :, 1:] & counted[:, :, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    down = (labels[:, 1:] != labels[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges


def dilate(maps: Tensor, radius: float) -> Tensor:
    """(B, H, W) bool maps grown by a disc: true where a true pixel lies within the Euclidean `radius` (pixels).

    The disc is put together from its rows, narrow to wide, so that a radius r costs O(r) passes over the map and
    not the O(r²) of a convolution; bool throughout, hence exact on every device.
    """
    height, width = maps.shape[1:]
    reach = int(min(radius, height - 1))
    grown = torch.zeros_like(maps)
    wide = maps.clone()
    done = 0
    for dy in range(reach, -1, -1):  # from the disc's narrow ends to its middle
        while done + 1 < width and math.hypot(done + 1, dy) <= radius:
            done += 1
            wide[:, :, done:] |= maps[:, :, :-done]
            wide[:, :, :-done] |= maps[:, :, done:]
        if dy:
            grown[:, dy:] |= wide[:, :-dy]
            grown[:, :-dy] |= wide[:, dy:]
        else:
            grown |= wide
    return grown

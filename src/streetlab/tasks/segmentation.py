"""One class per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MetricCollection

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import SEGMENTATION
from streetlab.errors import UserError, did_you_mean
from streetlab.loading.datamodule import Batch
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.tasks.base import StreetTask
from streetlab.tasks.boundary_iou import BoundaryIoU
from streetlab.tasks.metrics import BoundaryScore, ImageConfusions
from streetlab.tasks.test_time import TestTime

FULL_RESOLUTION = ("none", "resized", "native")


class SegmentationTask(StreetTask):
    """Trains on a loss over all valid pixels; validates and tests on one confusion matrix per image.

    While it is being fitted, validation looks at whole images and counts pixels, no more. Outside of `fit` (the
    best epoch's evaluation) it looks as `test_time` says and scores boundaries too.

    Args:
        aux_weight: of the auxiliary head's loss, where the network has such a head.
        test_time: how the best epoch is asked.
        boundary_tolerance: of the boundary F-score, pixels; null: 0.75% of the image's diagonal.
        full_resolution: `none`, or also test against masks of the photos' own size: `resized` upsamples the
            logits of the image at training size, `native` gives the network the photo at its own size.
    """

    task = SEGMENTATION

    def __init__(
        self,
        network: nn.Module,
        label_space: LabelSpace,
        loss: nn.Module,
        objective: Mapping[str, str],
        metadata: dict[str, Any] | None = None,
        added: MetricCollection | None = None,
        aux_weight: float = 0.4,
        test_time: TestTime | None = None,
        boundary_tolerance: float | None = None,
        full_resolution: str = "none",
    ) -> None:
        super().__init__(network, label_space, loss, objective, metadata, added)
        if aux_weight < 0:
            raise UserError(f"task.aux_weight: {aux_weight} is below 0")
        if full_resolution not in FULL_RESOLUTION:
            near = did_you_mean(str(full_resolution), FULL_RESOLUTION)
            raise UserError(
                f"task.full_resolution: '{full_resolution}' is not one of {', '.join(FULL_RESOLUTION)}{near}"
            )
        self.aux_weight, self.full_resolution = aux_weight, full_resolution
        self.test_time = test_time or TestTime()
        self.confusions = ImageConfusions(len(label_space))
        self.boundary = BoundaryScore(len(label_space), boundary_tolerance)
        self.boundary_iou = BoundaryIoU(len(label_space))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        output: SegmentationOutput = self.training_forward(batch["images"])
        loss = self.with_teacher(self.label_loss(output, batch), output.logits, batch, batch["masks"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["rows"]), sync_dist=True)
        return loss

    def label_loss(self, output: SegmentationOutput, batch: Batch) -> Tensor:
        loss = self.loss(output.logits.float(), batch["masks"])
        if output.aux is not None:
            loss = loss + self.aux_weight * self.loss(output.aux.float(), batch["masks"])
        return loss

    def logits(self, images: Tensor) -> Tensor:
        """`(B, K, H, W)`, the auxiliary head's left out."""
        return self.network(images).logits

    def reset_evaluation(self) -> None:
        self.confusions.reset()
        self.boundary.reset()
        self.boundary_iou.reset()

    def evaluate_batch(self, batch: Batch) -> None:
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        images, masks = batch["images"], batch["masks"]
        logits = self.logits(images).float() if fitting else self.test_time(self.logits, images)
        loss = self.loss(logits, masks)
        self.mean_loss.update(loss, len(batch["rows"]))
        predictions = logits.argmax(dim=1)
        self.confusions.update(predictions, masks, batch["rows"])
        self.count_added(logits, masks)
        if not fitting:
            self.boundary.update(predictions, masks)
            self.boundary_iou.update(predictions, masks)

    def summarize_evaluation(self) -> dict[str, Any]:
        matrices = self.confusions.compute()[1]
        return summarize_segmentation(matrices.sum(axis=0), self.label_space, len(matrices))

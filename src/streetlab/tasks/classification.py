"""One label per photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MetricCollection

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.errors import UserError
from streetlab.loading.datamodule import Batch
from streetlab.metrics.classification import summarize_confusion
from streetlab.tasks.base import StreetTask
from streetlab.tasks.metrics import Confusion
from streetlab.tasks.test_time import log_probabilities


class ClassificationTask(StreetTask):
    """Trains on a loss; validates and tests on one confusion matrix.

    `probabilities` holds, after a validation or test, the softmax of every sample seen by this process:
    `(rows (N,), probabilities (N, K))` as NumPy arrays.

    Args:
        test_flip: outside of `fit` (the best epoch's evaluation) the mirrored photos are predicted too, and
            probabilities are averaged.
    """

    task = CLASSIFICATION

    def __init__(
        self,
        network: nn.Module,
        label_space: LabelSpace,
        loss: nn.Module,
        objective: Mapping[str, str],
        metadata: dict[str, Any] | None = None,
        added: MetricCollection | None = None,
        test_flip: bool | None = None,
    ) -> None:
        super().__init__(network, label_space, loss, objective, metadata, added)
        if test_flip is not None and not isinstance(test_flip, bool):
            raise UserError(f"task.test_flip: {test_flip} is not true or false")
        self.test_flip = bool(test_flip)
        self.confusion = Confusion(len(label_space))
        self._rows: list[Tensor] = []
        self._probabilities: list[Tensor] = []
        self.probabilities = np.zeros(0, np.int64), np.zeros((0, len(label_space)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self.training_forward(batch["images"])
        loss = self.with_teacher(self.label_loss(logits, batch), logits, batch, batch["labels"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["rows"]), sync_dist=True)
        return loss

    def label_loss(self, output: Tensor, batch: Batch) -> Tensor:
        return self.loss(output.float(), batch["soft_labels"] if "soft_labels" in batch else batch["labels"])

    def reset_evaluation(self) -> None:
        self.confusion.reset()
        self._rows.clear()
        self._probabilities.clear()

    def evaluate_batch(self, batch: Batch) -> None:
        images = batch["images"]
        logits = self.network(images).float()
        if self.test_flip and self.trainer.state.fn != TrainerFn.FITTING:
            logits = log_probabilities(logits.softmax(dim=1) + self.network(images.flip(-1)).float().softmax(dim=1))
        loss = self.loss(logits, batch["labels"])
        self.mean_loss.update(loss, len(batch["rows"]))
        self.confusion.update(logits.argmax(dim=1), batch["labels"])
        self.count_added(logits, batch["labels"])
        self._rows.append(batch["rows"])
        self._probabilities.append(logits.softmax(dim=1))

    def summarize_evaluation(self) -> dict[str, Any]:
        self.probabilities = (
            torch.cat(self._rows).cpu().numpy(),
            torch.cat(self._probabilities).double().cpu().numpy(),
        )
        return summarize_confusion(self.confusion.compute(), self.label_space.names)

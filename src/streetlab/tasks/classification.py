"""One label per photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.loading.datamodule import Batch
from streetlab.metrics.classification import summarize_confusion
from streetlab.tasks.base import StreetTask
from streetlab.tasks.metrics import Confusion


class ClassificationTask(StreetTask):
    """Trains on a loss; validates and tests on one confusion matrix.

    `probabilities` holds, after a validation or test, the softmax of every sample seen by this process:
    `(rows (N,), probabilities (N, K))` as NumPy arrays.
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
    ) -> None:
        super().__init__(network, label_space, loss, objective, metadata, added)
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
        logits = self.network(batch["images"]).float()
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

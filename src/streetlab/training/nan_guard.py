"""Stop at a loss that is not finite, and name the images of its batch."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from streetlab.errors import UserError
from streetlab.loading.datamodule import Batch


class NanGuard(pl.Callback):
    """Raises a UserError at the first loss that is NaN or infinite.

    On a GPU the losses of `window` batches are looked at together, since each look waits for the device; no
    checkpoint is written in between.

    Args:
        window: batches per look on a GPU; the CPU looks at each.
    """

    def __init__(self, window: int = 50) -> None:
        self.window = window
        self._pending: list[tuple[Tensor, Tensor, int]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._pending.append((outputs["loss"].detach(), batch["rows"], batch_idx))
        if outputs["loss"].device.type == "cpu" or len(self._pending) >= self.window:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        finite = torch.stack([loss for loss, _, _ in pending]).isfinite().tolist()
        for ok, (loss, rows, batch_idx) in zip(finite, pending, strict=True):
            if not ok:
                samples = trainer.datamodule.samples("train")  # type: ignore[attr-defined]
                names = ", ".join(samples[row].id for row in rows.tolist())
                raise UserError(
                    f"the training loss is {float(loss)} in epoch {trainer.current_epoch + 1}, batch {batch_idx + 1} "
                    f"of {trainer.num_training_batches}: lower optimizer.lr or look at {names}"
                )

"""An exponential moving average of the weights: validated, tested and kept in place of the raw ones."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from streetlab.errors import UserError


class EMA(WeightAveraging):
    """Lightning's averaging, made fit for frozen parts and for several `fit` calls of one Trainer.

    What does not change stays bit-equal in the average too. Each phase averages anew from its own start, and
    the average is dropped when a phase ends: Lightning would swap it in again at any later `validate`, over
    weights that were loaded in the meantime.

    Args:
        decay: share of the old average that each step keeps.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay: {decay} is not between 0 and 1")

        def average(old: Tensor, new: Tensor, updates: Tensor) -> Tensor:
            # lerp, since decay * x + (1 - decay) * x is not x; counters (integers) are copied
            return torch.lerp(old, new, 1 - decay) if old.is_floating_point() else new

        super().__init__(use_buffers=True, avg_fn=average)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._average_model = None

"""An exponential moving average of the weights: validated, tested and kept in place of the raw ones."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from streetlab.errors import UserError


class EMA(WeightAveraging):
    """Lightning's averaging, made fit for frozen parts and for several `fit` calls of one Trainer.

    What does not change stays bit-equal in the average too. Each phase averages anew from its own start, and
    the average is dropped when a phase ends: Lightning would swap it in again at any later `validate`, over
    weights that were loaded in the meantime. BatchNorm's running statistics are averaged as the weights are.

    Args:
        decay: share of the old average that each step keeps.
        warmup: keep less of it at first, see `warmed_up`: a decay of 0.995 by itself lags 200 steps behind, which is
            many epochs of a small data set.
    """

    def __init__(self, decay: float = 0.99, warmup: bool = False) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay: {decay} is not between 0 and 1")
        if not isinstance(warmup, bool):
            raise UserError(f"callbacks.ema.warmup: {warmup} is not true or false")

        def average(old: list[Tensor], new: list[Tensor], updates: Tensor) -> None:
            weight = 1 - warmed_up(decay, updates) if warmup else 1 - decay
            for averaged, current in zip(old, new, strict=True):
                # lerp, since decay * x + (1 - decay) * x is not x; counters (integers) are copied
                if averaged.is_floating_point():
                    averaged.lerp_(current, weight)
                else:
                    averaged.copy_(current)

        super().__init__(use_buffers=True, multi_avg_fn=average)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._average_model = None


def warmed_up(decay: float, updates: Tensor) -> Tensor:
    """Compute min(decay, (1 + t) / (10 + t)), a scalar, after t updates.

    It is `num_updates` of TensorFlow's `tf.train.ExponentialMovingAverage`, and timm's `ModelEmaV3` with
    `warmup_gamma=9, warmup_power=1`. The average is then about the last ninth of all steps, until `decay` is reached
    (0.99 after 890 steps, 0.995 after 1790).
    """
    return ((1 + updates) / (10 + updates)).clamp(max=decay)

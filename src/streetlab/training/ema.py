"""An exponential moving average of the weights: validated, tested and kept in place of the raw ones."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

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
        super().__init__(use_buffers=True)
        self._decay, self._warmup = decay, warmup

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            # the task moves to its device only after this hook, and Lightning would leave the average where it is now
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self._decay, self._warmup)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._average_model = None


class _Average(AveragedModel):
    """A copy of a module that is averaged; it counts on the CPU, since torch's own reads its count from the device."""

    def __init__(self, model: nn.Module, device: torch.device, decay: float, warmup: bool) -> None:
        super().__init__(model, device, use_buffers=True)
        self.n_averaged = torch.tensor(0)
        self._decay, self._warmup = decay, warmup

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        updates = int(self.n_averaged)
        decay = warmed_up(self._decay, updates) if self._warmup else self._decay
        average, current = ((*each.parameters(), *each.buffers()) for each in (self.module, model))
        for old, new in zip(average, current, strict=True):
            # lerp, since decay * x + (1 - decay) * x is not x; counters (integers) are copied
            if updates and old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)
        self.n_averaged += 1


def warmed_up(decay: float, updates: int) -> float:
    """Compute min(decay, (1 + t) / (10 + t)) after t updates.

    It is `num_updates` of TensorFlow's `tf.train.ExponentialMovingAverage`, and timm's `ModelEmaV3` with
    `warmup_gamma=9, warmup_power=1`. The average is then about the last ninth of all steps, until `decay` is reached
    (0.99 after 890 steps, 0.995 after 1790).
    """
    return min(decay, (1 + updates) / (10 + updates))

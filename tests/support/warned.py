"""A callback that stands for a cluster which ends the run in its second epoch, the first time that it trains."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Warned(pl.Callback):
    """Sends a signal to this process once, where it is the first of its run.

    Args:
        marker: a file that remembers it.
        number: the signal's name.
    """

    def __init__(self, marker: str, number: str) -> None:
        self.marker, self.number = Path(marker), signal.Signals[number]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero and trainer.current_epoch == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), self.number)

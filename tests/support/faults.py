"""A callback that breaks chosen jobs of a sweep."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytorch_lightning as pl

from streetlab.training.phases import PhaseSchedule


class Faults(pl.Callback):
    """Kills the process the first time that `killed` trains, and fails every time that `failing` does.

    Args:
        seed: the run's.
        killed, failing: `<seed> <name of the first phase>`.
        marker: a file that remembers the kill.
    """

    def __init__(self, seed: int, killed: str, failing: str, marker: str) -> None:
        self.seed, self.killed, self.failing, self.marker = seed, killed, failing, Path(marker)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (regime,) = (callback for callback in trainer.callbacks if isinstance(callback, PhaseSchedule))
        job = f"{self.seed} {regime.phases[0].name}"
        if job == self.failing:
            raise RuntimeError("this job always fails")
        if job == self.killed and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

"""The progress bar over the whole run, and one log line for each epoch."""

from __future__ import annotations

import logging
import time

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID

from streetlab.loading.datamodule import Batch
from streetlab.metrics.catalogue import CATALOGUE, Place
from streetlab.progress import columns, shows_bars
from streetlab.training.phases import PhaseSchedule

log = logging.getLogger(__name__)


class Progress(pl.Callback):
    """Shows the run's progress: a rich bar in a terminal, and a line per epoch there and in train.log."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._images, self._started = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # Lightning leaves this hook out in the first resumed epoch
        regime = _regime(trainer)
        batches = int(trainer.num_training_batches)
        console = Console(stderr=True)
        if trainer.is_global_zero and shows_bars(console):
            self._bar = Bar(*columns(), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(
                regime.phase.name,
                total=regime.total_epochs * batches,
                completed=trainer.current_epoch * batches,
                note="",
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._images, self._started = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self._images += len(batch["rows"])
        if self._bar is not None:
            rate = self._images * trainer.world_size / (time.perf_counter() - self._started)
            epoch = f"epoch {trainer.current_epoch + 1}/{_regime(trainer).total_epochs}"
            self._bar.update(self._task, advance=1, note=f"{epoch}  {rate:.0f} images/s")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        regime = _regime(trainer)
        scores = (f"val/{metric.key}" for metric in CATALOGUE if Place.EPOCH_LINE in metric.shown)
        shown = dict.fromkeys(("train/loss", "val/loss", *scores, "lr"))
        values = trainer.callback_metrics
        numbers = "  ".join(f"{name} {float(values[name]):.4g}" for name in shown if name in values)
        seconds = time.perf_counter() - self._started
        log.info(
            "epoch %*d/%d %s  %s  %.1f s",
            len(str(regime.total_epochs)), trainer.current_epoch + 1, regime.total_epochs, regime.phase.name,
            numbers, seconds,
        )  # fmt: skip

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _regime(trainer: pl.Trainer) -> PhaseSchedule:
    return next(c for c in trainer.callbacks if isinstance(c, PhaseSchedule))  # type: ignore[attr-defined]

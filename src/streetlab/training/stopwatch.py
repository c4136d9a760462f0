"""Measure the time and memory of epochs, across resumed runs."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytorch_lightning as pl
import torch

from streetlab.loading.datamodule import Batch


class Stopwatch(pl.Callback):
    """Seconds of training and validation per epoch, images trained on, peak memory."""

    def __init__(self) -> None:
        self.train_seconds: list[float] = []
        self.epoch_seconds: list[float] = []
        self.images: list[int] = []
        self._started = self._trained = 0.0
        self._count = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # Lightning leaves this hook out in the first resumed epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started, self._count = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self._count += len(batch["rows"])
        if batch_idx + 1 == trainer.num_training_batches:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._trained = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.images.append(self._count * trainer.world_size)
        self.train_seconds.append(self._trained)
        self.epoch_seconds.append(time.perf_counter() - self._started)

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "train": self.train_seconds, "epoch": self.epoch_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.train_seconds = list(state_dict["images"]), list(state_dict["train"])
        self.epoch_seconds = list(state_dict["epoch"])

    def summary(self) -> dict[str, Any]:
        """Times and memory of the training.

        Returns:
            `seconds_per_epoch` (list, validation included), `seconds_total`, `images_per_second` (training alone,
            the first epoch left out where there are more), `peak_memory_bytes` (of the GPU, else of the process).
        """
        later = slice(1, None) if len(self.images) > 1 else slice(None)
        trained, seconds = sum(self.images[later]), sum(self.train_seconds[later])
        on_gpu = torch.cuda.is_available()
        return {
            "seconds_per_epoch": [round(s, 3) for s in self.epoch_seconds],
            "seconds_total": round(sum(self.epoch_seconds), 3),
            "images_per_second": trained / seconds if seconds else None,
            "peak_memory_bytes": torch.cuda.max_memory_allocated()
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "memory_of": "gpu" if on_gpu else "process",
        }

"""An exponential moving average of the weights: validated, tested and kept in place of the raw ones."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging


class EMA(EMAWeightAveraging):
    """Lightning's averaging, made fit for several `fit` calls of one Trainer.

    Each phase averages anew from its own start, and the average is dropped when a phase ends: Lightning would
    swap it in again at any later `validate`, over weights that were loaded in the meantime.
    """

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._average_model = None

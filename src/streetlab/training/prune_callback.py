"""Report each epoch's objective to the search that a run is a trial of, and end the run when the search gives it up."""

from __future__ import annotations

import pytorch_lightning as pl

from streetlab.records.record import RunRecord
from streetlab.sweeps.pruning import RunningTrial, TrialPruned
from streetlab.tasks.base import StreetTask
from streetlab.training.rendezvous import is_first


class PruneCallback(pl.Callback):
    """Ends a trial between two epochs, so that its record and last.ckpt hold all of the last one.

    Steps of the pruner are epochs over all phases, counted from 0. A run that goes on from an earlier trial's record
    reports the epochs from before as well.

    Args:
        record: the run's.
    """

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._trial = RunningTrial() if is_first() else None
        self._last: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, StreetTask)
        if trainer.current_epoch == 0 or self._trial is None:
            return
        for row in self._record.history():
            epoch, objective = int(row["epoch"] or 0), row.get(pl_module.monitor)
            if epoch <= trainer.current_epoch and objective is not None:
                self._report(epoch - 1, float(objective))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, StreetTask)
        pruned = self._trial is not None and self._trial.should_prune()
        if trainer.strategy.broadcast(pruned):
            raise TrialPruned(
                f"given up by its search (hydra.sweeper.pruner) after epoch {trainer.current_epoch}, "
                f"with {pl_module.monitor} {self._last}"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, StreetTask)
        objective = trainer.callback_metrics.get(pl_module.monitor)
        if objective is not None:
            self._report(trainer.current_epoch, float(objective))

    def _report(self, step: int, objective: float) -> None:
        if self._trial is not None:
            self._trial.report(step, objective)
            self._last = objective

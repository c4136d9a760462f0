"""Private parts of PyTorch Lightning that streetlab needs, each with its reason; no other module touches them."""

from __future__ import annotations

import pytorch_lightning as pl


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keep the Trainer from handling signals, which `training.interruption` does; there is no option for it.

    On SIGTERM Lightning begins a broadcast, and a process that alone got the signal waits in it for the others forever.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


def set_max_epochs(trainer: pl.Trainer, epochs: int) -> None:
    """Let the next `fit` end after this epoch, counted from 1; the Trainer's own `max_epochs` can only be read."""
    trainer.fit_loop.max_epochs = epochs


def remaining_epochs(trainer: pl.Trainer) -> int:
    """Number of epochs that the running `fit` has before it."""
    return (trainer.fit_loop.max_epochs or 0) - trainer.current_epoch


def stops_early(trainer: pl.Trainer) -> bool:
    """Tell whether the running `fit` ends with this epoch since a callback asked for it, and `min_epochs` allows it."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def next_epoch(trainer: pl.Trainer) -> int:
    """Epoch that batches are drawn for, from 0; `current_epoch` lags by one while the hooks of an epoch's end run."""
    return trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]


def batches_begun(trainer: pl.Trainer) -> int:
    """Number of training batches over all phases and epochs, the present one included; a checkpoint restores it.

    `global_step` counts steps of the optimizer, of which several batches may share one.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready

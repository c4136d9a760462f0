"""Private parts of Lightning behave as streetlab needs them; only one module touches them."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from streetlab import lightning_compat as compat
from tests.support.private_parts import lines_that_touch

PRIVATE = re.compile(
    r"trainer\._|\b\w+_connector\b|\.fit_loop|\.epoch_loop|\.epoch_progress|\.batch_progress|lightning[\w.]*\._"
)


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> Any:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Watch(pl.Callback):
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.remaining: list[int] = []
        self.next_epochs: list[tuple[int, int]] = []
        self.handlers: list[Any] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.remaining.append(compat.remaining_epochs(trainer))
        self.next_epochs.append((trainer.current_epoch, compat.next_epoch(trainer)))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        self.batches.append(compat.batches_begun(trainer))
        self.handlers.append(signal.getsignal(signal.SIGTERM))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.next_epochs.append((trainer.current_epoch, compat.next_epoch(trainer)))


def fit(epochs: list[int], folder: Path, checkpoint: Path | None = None) -> tuple[Watch, pl.Trainer]:
    watch = Watch()
    trainer = pl.Trainer(
        accelerator="cpu", callbacks=[watch], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, accumulate_grad_batches=2,
    )  # fmt: skip
    compat.leave_signals_alone(trainer)
    module, loader = Line(), DataLoader(torch.ones(4, 1), batch_size=1)
    for end in epochs:
        compat.set_max_epochs(trainer, end)
        trainer.fit(module, loader, ckpt_path=checkpoint)
    return watch, trainer


@pytest.mark.filterwarnings("ignore")
def test_a_second_fit_goes_on_and_counts_batches_and_epochs_through(tmp_path):
    watch, trainer = fit([1, 3], tmp_path)
    assert (trainer.current_epoch, trainer.global_step) == (3, 6), "two batches make a step"
    assert watch.batches == list(range(1, 13)), "the number of a batch repeats or jumps: dropout would"
    assert watch.remaining == [1, 2, 1]
    # at an epoch's end its own number is over, and the batches of the next one may be drawn
    assert watch.next_epochs == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_restores_what_is_counted(tmp_path):
    _, trainer = fit([1], tmp_path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    watch, _ = fit([2], tmp_path, tmp_path / "last.ckpt")
    assert watch.batches == [5, 6, 7, 8]
    assert watch.next_epochs[0] == (1, 1)


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_leaves_the_handlers_of_signals_alone(tmp_path):
    def handler(number: int, frame: Any) -> None: ...

    before = signal.signal(signal.SIGTERM, handler)
    try:
        watch, _ = fit([1], tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert set(watch.handlers) == {handler}


def test_no_other_module_touches_private_parts_of_lightning():
    assert not lines_that_touch(PRIVATE, "lightning_compat.py")

"""Compile the network for the steps of a training; where compiling fails, train uncompiled.

A graph is made of the first batch of each phase's training and one of its validation, with sizes that are fixed. All
other images (the smaller last batch, other sizes in the evaluation of the best epoch) are computed uncompiled, so
that nothing compiles in the middle of a run. The graphs are tried out before they count: what is compiled lazily, as
the backward pass, fails then or not at all.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from streetlab.errors import UserError, first_line, root_cause
from streetlab.lightning_compat import remaining_epochs
from streetlab.loading.datamodule import Batch
from streetlab.tasks.base import StreetTask
from streetlab.training.dry_run import without_a_trace
from streetlab.training.memory import is_out_of_memory

log = logging.getLogger(__name__)

AUTO = "auto"
WORTH_STEPS = 1000
"""Training steps of a phase from which `auto` compiles: compiling takes from half a minute to minutes, and a step of
these networks is faster by some ten milliseconds. An estimate."""


def check_compile(asked: object) -> str | bool:
    """Check the value of `trainer.compile`.

    Raises:
        UserError: it is not auto, true or false.
    """
    if asked != AUTO and not isinstance(asked, bool):
        raise UserError(f"trainer.compile: '{asked}' is not auto, true or false")
    return asked


class CompileCallback(pl.Callback):
    """Compiles the network in place (the state dict keeps its keys) while it is fitted.

    Args:
        asked: true; false; auto: true on a GPU, where a phase has `WORTH_STEPS`.
        backend: of torch.compile.
    """

    def __init__(self, asked: str | bool = AUTO, backend: object = "inductor") -> None:
        self.asked, self.backend = check_compile(asked), backend
        self._open = ExitStack()
        self._compiled: nn.Module | None = None
        self._tried: set[bool] = set()
        self._failed = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._failed or not self._wanted(trainer):
            return
        assert isinstance(pl_module, StreetTask)
        self._compiled = pl_module.network
        self._tried.clear()
        self._compiled.compile(dynamic=False, backend=self.backend)
        self._open.callback(self._compiled.compile, disable=True)
        self._open.enter_context(torch.compiler.set_stance("eager_on_recompile"))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._try_once(trainer, pl_module, batch["images"], learns=True)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._try_once(trainer, pl_module, batch["images"], learns=False)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _wanted(self, trainer: pl.Trainer) -> bool:
        if self.asked != AUTO:
            return bool(self.asked)
        steps = remaining_epochs(trainer) * trainer.num_training_batches
        return trainer.strategy.root_device.type == "cuda" and steps >= WORTH_STEPS

    def _try_once(self, trainer: pl.Trainer, task: Any, images: Tensor, learns: bool) -> None:
        if self._compiled is None or learns in self._tried:
            return
        self._tried.add(learns)
        log.info("compiling the network's %s step", "training" if learns else "validation")
        began = time.perf_counter()
        reason = self._try(trainer, task, images, learns)
        failed = torch.tensor(reason is not None, device=trainer.strategy.root_device)
        if bool(trainer.strategy.reduce(failed.int(), reduce_op="max")):
            self._failed = True
            self._close()
            log.warning("trainer.compile: training goes on uncompiled: %s", reason or "it failed in another process")
        else:
            log.info("compiled in %.1f s", time.perf_counter() - began)

    def _try(self, trainer: pl.Trainer, task: StreetTask, images: Tensor, learns: bool) -> str | None:
        """Return the reason why the network does not compile; None where it does."""
        try:
            with torch.compiler.set_stance("default"), trainer.precision_plugin.forward_context():
                if not learns:  # in inference mode, as the step that follows
                    task.network(images)
                    return None
                with without_a_trace(task):
                    output = task.network(images)
                    parts = [output] if isinstance(output, Tensor) else [part for part in output if part is not None]
                    scalar = torch.stack([part.float().mean() for part in parts]).sum()
                    learning = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
                    # not `backward`, which would wake DDP's hooks
                    torch.autograd.grad(scalar, learning, allow_unused=True)
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, UserError):
                raise
            return first_line(root_cause(error)) or type(error).__name__
        return None

    def _close(self) -> None:
        self._open.close()
        self._compiled = None

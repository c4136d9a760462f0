"""`batch_size=auto`: the largest power of two whose training step fits the device's memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from streetlab.errors import UserError, did_you_mean
from streetlab.loading.datamodule import StreetData
from streetlab.networks.groups import freeze_except, select_parameters, set_training_mode
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.training.dry_run import without_a_trace
from streetlab.training.memory import is_out_of_memory, no_room, peak_memory
from streetlab.training.phases import PhaseSchedule
from streetlab.training.rendezvous import is_first

log = logging.getLogger(__name__)

AUTO = "auto"
FIRST = {"cuda": 256, "cpu": 32}
"""What is tried first. A CPU gives out more memory than there is and a process that uses it is killed, so that only a
size is tried there that networks of this package are usually trained at."""
SPARE = 0.05
"""Share of a GPU's memory that a trial leaves: for averaged weights, DDP's buckets, and what fragments."""


def written_batch_size(asked: object) -> int:
    """The number that `batch_size` names; for `auto` the one to begin with.

    Raises:
        UserError: it is neither a whole number above 0 nor auto.
    """
    if asked == AUTO:
        return FIRST["cpu"]
    if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
        return asked
    near = did_you_mean(asked, [AUTO]) if isinstance(asked, str) else ""
    raise UserError(f"batch_size: {asked} is not a whole number above 0 or auto{near}")


def largest_fitting(attempt: Callable[[int], None], most: int) -> int | None:
    """The first of the powers of two from `most` downwards that `attempt` does not run out of memory with.

    Args:
        attempt: takes a training step of so many images.
        most: need not be a power of two.

    Returns:
        None where not even one image fits.
    """
    size = 1 << (most.bit_length() - 1)
    while size:
        try:
            attempt(size)
            return size
        except Exception as error:
            if size == 1 and most > 1 and isinstance(error, UserError):
                return None  # networks with BatchNorm refuse a batch of one
            if not is_out_of_memory(error):
                raise
        gc.collect()  # outside of the except clause, which keeps the step's tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info("batch_size=auto: %d images do not fit", size)
        size //= 2
    return None


class AutoBatchSize(pl.Callback):
    """Finds the batch size before the first epoch; all processes take the smallest that any of them found.

    A dry run is two whole training steps, so that the optimizer's state is there in the second, on training images and
    in the phase that trains most.

    Args:
        regime: of the run.
        record: whose status.json gets the number, as `batch_size`.
        trainer: the config's node, for advice where nothing fits.

    Attributes:
        chosen: the number; a checkpoint holds it.
    """

    def __init__(self, regime: PhaseSchedule, record: RunRecord, trainer: Mapping[str, Any]) -> None:
        self.regime, self.record, self.trainer = regime, record, trainer
        self.chosen: int | None = None

    def take_up(self, checkpoint: Mapping[str, Any]) -> None:
        """Keep the batch size chosen by the run whose checkpoint is resumed."""
        self.load_state_dict(checkpoint["callbacks"].get(self.state_key, {}))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, StreetTask)
        assert isinstance(data, StreetData)
        if stage == "fit" and self.chosen is None:
            self.chosen = self._agreed(trainer, self._search(trainer, pl_module, data))
        if self.chosen is not None and data.batch_size != self.chosen:
            data.resize_batches(self.chosen)
        if stage == "fit" and is_first():
            self.record.write_status(batch_size=self.chosen)

    def state_dict(self) -> dict[str, Any]:
        return {"batch_size": self.chosen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.chosen = state_dict.get("batch_size")

    def _search(self, trainer: pl.Trainer, task: StreetTask, data: StreetData) -> int:
        """The largest that fits here; 0 where none does."""
        device = trainer.strategy.root_device
        most = min(FIRST.get(device.type, FIRST["cuda"]), len(data.samples("train")) // trainer.world_size)
        phase = max(self.regime.phases, key=lambda phase: _trained(task, phase.train))
        with without_a_trace(task):
            task.to(device)
            freeze_except(task.network, phase.train)
            set_training_mode(task.network, phase.train)

            def attempt(count: int) -> None:
                # held for as long as the trial lasts
                spare = _spare(device)
                optimizer = self.regime.build_optimizer(phase, task.network)
                try:
                    for _ in range(2):
                        batch = data.train_batch(count, device)
                        with trainer.precision_plugin.forward_context():
                            loss: Any = task.training_step(batch, 0)
                        loss.backward()
                        optimizer.step()
                        optimizer.zero_grad(set_to_none=True)
                finally:
                    task.zero_grad(set_to_none=True)
                    del spare

            size = largest_fitting(attempt, max(most, 1))
            peak = peak_memory(device)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if size is not None:
            log.info("batch_size=auto: %d images a step (peak %s)", size, peak)
        return size or 0

    def _agreed(self, trainer: pl.Trainer, found: int) -> int:
        number = torch.tensor(found, device=trainer.strategy.root_device)
        smallest = int(trainer.strategy.reduce(number, reduce_op="min"))
        if smallest == 0:
            raise no_room(1, self.trainer, AUTO, trainer.strategy.root_device)
        if smallest != found:
            log.info("batch_size=auto: %d, the smallest of all processes", smallest)
        return smallest


def _trained(task: StreetTask, names: tuple[str, ...]) -> int:
    return sum(parameter.numel() for _, parameter in select_parameters(task.network, names))


def _spare(device: torch.device) -> torch.Tensor | None:
    if device.type != "cuda":
        return None
    size = int(SPARE * torch.cuda.get_device_properties(device).total_memory)
    return torch.empty(size, dtype=torch.uint8, device=device)

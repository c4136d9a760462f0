"""Regimes: a list of phases, each with its own trained parts, learning rate, optimizer and schedule.

Each phase is one `fit` of the same Trainer whose `max_epochs` has been raised by the phase's epochs, so epochs
and steps run on while optimizer, schedule and (under DDP) the wrapper are fresh. Three invariants, each tested:

- what a phase does not train stays bit-equal: no gradient, and the whole frozen part in eval mode, since
  BatchNorm would move its statistics otherwise;
- a run that was killed and resumed ends with the same bits as one that was not: everything that the next
  epoch depends on is in `last.ckpt` at the end of the epoch, and random numbers are functions of
  (seed, step) or (seed, epoch, sample), never of what ran before;
- a name that matches no parameter is an error, before any epoch is spent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import Optimizer

from streetlab.checkpoints.write import in_folder
from streetlab.config.annotations import check_values
from streetlab.errors import UserError, did_you_mean
from streetlab.lightning_compat import batches_begun, set_max_epochs, stops_early
from streetlab.loading.datamodule import StreetData
from streetlab.networks.groups import freeze_except, layer_depths, select_parameters, set_training_mode
from streetlab.tasks.base import StreetTask
from streetlab.training.optimizers import build_fused, parameter_groups
from streetlab.training.schedules import BuildSchedule, Horizon, Schedule, build_schedule, check_schedule, none

log = logging.getLogger(__name__)

START_FROM = ("current", "best")
PHASE_KEYS = ("name", "epochs", "train", "lr_scale", "start_from", "optimizer", "scheduler", "image_size")


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Attributes:
        name: shown in curves, logs and bars.
        epochs: its length.
        train: parameter groups of the network, or names of its submodules; all else is frozen.
        lr_scale: factor on `optimizer.lr`; or factors by group, 1 where none is named.
        start_from: `current` goes on with the weights as they are, `best` returns to the best epoch so far.
        optimizer, scheduler: instead of the run's own.
        image_size: height and width of the images that train, at most the run's own, at which it is validated.
    """

    name: str
    epochs: int
    train: tuple[str, ...]
    lr_scale: float | Mapping[str, float] = 1.0
    start_from: str = "current"
    optimizer: Callable[..., Optimizer] | None = None
    scheduler: BuildSchedule | None = None
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Resumed:
    """A checkpoint to go on from, written at the end of an epoch.

    Attributes:
        checkpoint: its file.
        phase: number of the phase it was written in, from 0.
        phase_epochs: how many epochs that phase was to have then.
        with_best: whether the best epoch so far is at hand as the record's best.ckpt.
        ended: how many epochs each phase had that is over; the checkpoint's own is among them if it was stopped early.
    """

    checkpoint: Path
    phase: int
    phase_epochs: int
    with_best: bool = True
    ended: tuple[int, ...] = ()


@dataclass(frozen=True)
class PhaseState:
    """The state of the phases in a checkpoint.

    Attributes:
        index: number of the phase, from 0; None in older checkpoints, which hold the name alone.
        name: its name.
        ended: how many epochs each phase before it had; None in older checkpoints, where each had all of its own.
        stopped: whether a callback ended the phase with this epoch, before its last one.
    """

    index: int | None
    name: str
    ended: tuple[int, ...] | None
    stopped: bool


def parse_phases(
    phases: Sequence[Mapping[str, Any]], max_epochs: int | None = None, epochs: int | None = None
) -> list[Phase]:
    """Phases from plain mappings, the last of `epochs` where given, each cut to `max_epochs`.

    Raises:
        UserError: an unknown or missing key, no phase at all, a number out of range.
    """
    if not phases:
        raise UserError("regime.phases: no phases")
    if isinstance(phases, str) or not isinstance(phases, Sequence):
        raise UserError(f"regime.phases: {phases} is not a list of phases")
    for name, value in (("epochs", epochs), ("max_epochs", max_epochs)):
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise UserError(f"regime.{name}: {value} is not a whole number of 1 or more")
    parsed = []
    for number, mapping in enumerate(phases):
        key = f"regime.phases[{number}]"
        if not isinstance(mapping, Mapping):
            raise UserError(f"{key}: {mapping} is not a phase: {{name: ..., epochs: ..., train: [...]}}")
        unknown = [name for name in mapping if name not in PHASE_KEYS]
        if unknown:
            near = did_you_mean(unknown[0], PHASE_KEYS)
            raise UserError(f"{key}: unknown key '{unknown[0]}' (allowed: {', '.join(PHASE_KEYS)}){near}")
        for needed in ("name", "epochs", "train"):
            if needed not in mapping:
                raise UserError(f"{key}: '{needed}' is missing")
        words = {name: value for name, value in mapping.items() if name not in ("optimizer", "scheduler", "image_size")}
        check_values(Phase, words, key)
        options = dict(mapping, train=tuple(mapping["train"]))
        if epochs is not None and number == len(phases) - 1:
            options["epochs"] = epochs
        if options.get("image_size") is not None:
            options["image_size"] = _size(options["image_size"], key)
        phase = Phase(**options)
        if phase.epochs < 1:
            raise UserError(f"{key}.epochs: {phase.epochs} is less than 1")
        if phase.start_from not in START_FROM:
            near = did_you_mean(phase.start_from, START_FROM)
            raise UserError(f"{key}.start_from: '{phase.start_from}' is not one of {', '.join(START_FROM)}{near}")
        if max_epochs is not None:
            phase = Phase(**{**options, "epochs": min(phase.epochs, max_epochs)})
        parsed.append(phase)
    return parsed


def _selected(network: nn.Module, names: tuple[str, ...], key: str) -> Sequence[tuple[str, nn.Parameter]]:
    try:
        return select_parameters(network, names)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _size(value: Any, key: str) -> tuple[int, int]:
    is_size = isinstance(value, Sequence) and len(value) == 2
    if not is_size or not all(isinstance(side, int) and side >= 32 for side in value):
        raise UserError(f"{key}.image_size: {value} is not [height, width] of at least 32 each")
    return value[0], value[1]


class PhaseSchedule(pl.Callback):
    """The regime: runs the phases one after the other and owns freezing, optimizers and schedules.

    Args:
        phases: plain mappings, see `Phase` for their keys.
        epochs: length of the last phase, where another than its own is wanted.
        layer_decay: factor on the learning rate from each layer to the one below it, see `parameter_groups`.
        max_epochs: caps every phase; null leaves them as they are.
        optimizer: a partial of an optimizer class with `lr` among its keywords.
        scheduler: builds the schedule of every phase that names none.
        seed: of dropout and the like.
    """

    def __init__(
        self,
        phases: Sequence[Mapping[str, Any]],
        optimizer: Callable[..., Optimizer],
        scheduler: BuildSchedule = none,
        max_epochs: int | None = None,
        epochs: int | None = None,
        layer_decay: float | None = None,
        seed: int = 0,
    ) -> None:
        if layer_decay is not None and not (isinstance(layer_decay, int | float) and 0 < layer_decay <= 1):
            raise UserError(f"regime.layer_decay: {layer_decay} is not a factor above 0 and at most 1")
        self.phases = parse_phases(phases, max_epochs, epochs)
        self.optimizer, self.scheduler, self.seed, self.layer_decay = optimizer, scheduler, seed, layer_decay
        self.index = 0
        self._ended: list[int] = []  # epochs that each phase had which is over: a callback may have stopped it early
        self.schedule = Schedule(None)
        self._resumed: Resumed | None = None
        self._restored: dict[str, Any] | None = None
        self._steps_per_epoch: int | None = None
        self._may_fuse = True

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self.phases[self.index]

    @property
    def total_epochs(self) -> int:
        return sum(self._epochs())

    def first_epoch(self, index: int) -> int:
        """The epoch, counted from 0, that a phase begins with, if no phase to come is stopped early."""
        return sum(self._epochs()[:index])

    def _epochs(self) -> list[int]:
        """Epochs of each phase: how many it had, or is to have."""
        return [*self._ended, *(phase.epochs for phase in self.phases[len(self._ended) :])]

    def timeline(self) -> list[dict[str, Any]]:
        """Name, first epoch (counted from 1) and length of every phase, as metrics.json holds them."""
        return [
            {"name": phase.name, "first_epoch": self.first_epoch(index) + 1, "epochs": epochs}
            for index, (phase, epochs) in enumerate(zip(self.phases, self._epochs(), strict=True))
        ]

    def check(self, network: nn.Module) -> None:
        """Check that every name of every phase matches a parameter and every optimizer has a rate to scale."""
        if self.layer_decay is not None:
            layer_depths(network)
        for number, phase in enumerate(self.phases):
            key = f"regime.phases[{number}]"
            build = phase.optimizer or self.optimizer
            if isinstance(build, partial) and "lr" not in build.keywords:
                raise UserError(f"optimizer: lr is missing, which phases scale: write lr= beside {build.func.__name__}")
            check_schedule(phase.scheduler or self.scheduler)
            if not _selected(network, phase.train, f"{key}.train"):
                raise UserError(f"{key}.train: {list(phase.train)} names no parameter; [all] trains all")
            if isinstance(phase.lr_scale, Mapping):
                _selected(network, tuple(phase.lr_scale), f"{key}.lr_scale")

    def fit(
        self,
        trainer: pl.Trainer,
        task: StreetTask,
        datamodule: pl.LightningDataModule,
        resumed: Resumed | None = None,
    ) -> None:
        """Train all phases; with `resumed`, from the end of the epoch that its checkpoint was written after.

        A callback that sets `trainer.should_stop`, such as Lightning's EarlyStopping, ends its phase, and the next one
        follows. The counters of EarlyStopping begin anew with each phase, whose rates and parameters are others.
        """
        self.check(task.network)
        task.optimize_with(lambda network: self.build_optimizer(self.phase, network))
        # Lightning refuses to clip the gradients of a fused optimizer in mixed precision
        self._may_fuse = not trainer.gradient_clip_val or "mixed" not in str(trainer.precision)
        self._resumed = resumed
        self._ended = list(resumed.ended) if resumed is not None else []
        stoppers = [callback for callback in trainer.early_stopping_callbacks if callback is not None]
        counters = [callback.state_dict() for callback in stoppers]
        self.index = first = resumed.phase if resumed is not None else 0
        for index in range(first, len(self.phases)):
            checkpoint = resumed.checkpoint if resumed is not None and index == first else None
            self.index = index
            self._enter(trainer, task, checkpoint is not None)
            if isinstance(datamodule, StreetData):
                datamodule.train_size = self.phase.image_size
            for callback, state in zip(stoppers, counters, strict=True):
                callback.load_state_dict(state)  # of a phase that goes on, the checkpoint restores them after this
            set_max_epochs(trainer, self.first_epoch(index + 1))
            # plain tensors and containers only
            trainer.fit(task, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
            epochs = trainer.current_epoch - self.first_epoch(index)
            self._ended[index:] = [epochs]
            if epochs < self.phase.epochs:
                log.info("phase %s: stopped after %d of %d epochs", self.phase.name, epochs, self.phase.epochs)

    def phase_of(self, checkpoint: Mapping[str, Any]) -> PhaseState:
        """The phase that a checkpoint's contents are from."""
        state = checkpoint["callbacks"][self.state_key]
        ended = state.get("ended")
        return PhaseState(
            state.get("index"),
            str(state["phase"]),
            None if ended is None else tuple(ended),
            state.get("stopped", False),
        )

    def build_optimizer(self, phase: Phase, network: nn.Module) -> Optimizer:
        """Build the optimizer of a phase's parameters, at the phase's learning rates."""
        build = phase.optimizer or self.optimizer
        base: float = build.keywords["lr"] if isinstance(build, partial) else 1e-3
        groups = parameter_groups(network, phase.train, base, phase.lr_scale, self.layer_decay)
        return build_fused(build, groups, self._may_fuse)

    def _enter(self, trainer: pl.Trainer, task: StreetTask, resuming: bool) -> None:
        phase = self.phase
        if not resuming:
            self._restored = None  # of a phase that had already ended when the run was killed
        if phase.start_from == "best" and not resuming:
            best = next(
                (c.best_model_path for c in trainer.checkpoint_callbacks
                 if isinstance(c, ModelCheckpoint) and c.monitor), "",
            )  # fmt: skip
            if not best:
                raise UserError(f"phase '{phase.name}' starts from the best epoch, but no epoch has been kept yet")
            task.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
        freeze_except(task.network, phase.train)
        trained = sum(p.numel() for p in task.network.parameters() if p.requires_grad)
        parts = "+".join(phase.train)
        log.info("phase %s: %d epochs, %s (%.2f M parameters)", phase.name, phase.epochs, parts, trained / 1e6)

    # hooks

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # this hook comes after the epoch's other ones, of which one may have stopped the phase
        checkpoint["callbacks"][self.state_key]["stopped"] = stops_early(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # a record may have been moved, or go on from another's checkpoint: Lightning would forget the best epoch
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or callback.state_key not in checkpoint["callbacks"]:
                continue
            state = checkpoint["callbacks"].pop(callback.state_key)
            if callback.monitor is None or self._resumed is None or self._resumed.with_best:
                checkpoint["callbacks"][callback.state_key] = in_folder(state, str(callback.dirpath))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (optimizer,) = trainer.optimizers
        assert isinstance(pl_module, StreetTask)
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        horizon = Horizon(self.phase.epochs, steps, pl_module.objective["mode"])  # type: ignore[arg-type]
        restored, before = self._restored, horizon
        if restored is not None and self._resumed is not None:
            before = replace(horizon, epochs=self._resumed.phase_epochs, steps_per_epoch=self._steps_per_epoch or steps)
        # as restored: building a schedule resets learning rates and, with 1cycle, momenta
        groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        if before != horizon:  # the schedule begins anew, so its optimizer must look as it did at the beginning
            for group, fresh in zip(
                optimizer.param_groups, self.build_optimizer(self.phase, pl_module.network).param_groups, strict=True
            ):
                for key in group.keys() - fresh.keys():
                    del group[key]
                group.update({key: value for key, value in fresh.items() if key != "params"})
        self.schedule = build_schedule(self.phase.scheduler or self.scheduler, optimizer, horizon)
        if before != horizon and self.schedule.go_on(restored or {}, before, horizon):
            log.info(
                "phase %s: %d epochs of %d steps, before %d of %d: the schedule goes on as if it had begun so",
                self.phase.name, horizon.epochs, steps, before.epochs, before.steps_per_epoch,
            )  # fmt: skip
        elif restored is not None:
            self.schedule.load_state_dict(restored)
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group.update(settings)
        self._restored, self._steps_per_epoch = None, steps
        self._last_step = trainer.global_step
        set_training_mode(pl_module.network, self.phase.train)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        set_training_mode(pl_module.network, self.phase.train)  # type: ignore[arg-type]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        # dropout is a function of (seed, batch, rank), so a resumed run needs no saved random state
        torch.manual_seed((self.seed * 1_000_003 + batches_begun(trainer)) * 1_009 + trainer.global_rank)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_step > self._last_step:
            self._last_step = trainer.global_step
            if self.schedule.interval == "step":
                self.schedule.step(None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # before the checkpoint callbacks, which Lightning runs last: what is saved has been stepped
        assert isinstance(pl_module, StreetTask)
        pl_module.log("lr", max(group["lr"] for group in trainer.optimizers[0].param_groups))
        if self.schedule.interval == "epoch":
            objective = trainer.callback_metrics.get(pl_module.monitor)
            self.schedule.step(None if objective is None else float(objective))

    def state_dict(self) -> dict[str, Any]:
        return {
            "phase": self.phase.name,
            "index": self.index,
            "ended": self._ended[: self.index],
            "steps_per_epoch": self._steps_per_epoch,
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict["schedule"]
        self._steps_per_epoch = state_dict.get("steps_per_epoch")

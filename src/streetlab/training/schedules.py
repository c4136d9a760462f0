"""Learning-rate schedules over one phase: ours, torch's and timm's, with the horizon that the phase gives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from streetlab.config.targets import Arguments, signature_of
from streetlab.errors import UserError


@dataclass(frozen=True)
class Horizon:
    """The length of a phase, and its objective's `mode`: `max` or `min`."""

    epochs: int
    steps_per_epoch: int
    mode: Literal["max", "min"] = "max"

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Schedule:
    """A scheduler and when to step it: after each optimizer step or each epoch, with the objective or without."""

    scheduler: LRScheduler | ReduceLROnPlateau | TimmCounter | None
    interval: Literal["step", "epoch"] = "epoch"

    def step(self, objective: float | None) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if objective is None:
                raise UserError("scheduler=plateau needs a validation in every epoch")
            self.scheduler.step(objective)
        elif self.scheduler is not None:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state)

    def go_on(self, state: Mapping[str, Any], before: Horizon, now: Horizon) -> bool:
        """Step a schedule that was just built for one horizon to where that of another, with this state, has come to.

        Returns:
            False where nothing was done: plateau goes by what the objective was, and by no horizon.
        """
        if isinstance(self.scheduler, ReduceLROnPlateau):
            return False
        done: int = state.get("last_epoch", 0)
        if self.interval == "step":
            done = round(done * now.steps_per_epoch / before.steps_per_epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's, that no step of the optimizer was between
            for _ in range(done):
                self.step(None)
        return True


@runtime_checkable
class TimmScheduler(Protocol):
    """A scheduler of `timm.scheduler`: the rate is a function of the number of epochs, or of updates, so far."""

    t_in_epochs: bool

    def step(self, epoch: int) -> None: ...
    def step_update(self, num_updates: int) -> None: ...


class TimmCounter:
    """Counts epochs or updates for a scheduler of timm's, which keeps no count of its own, nor any other state."""

    def __init__(self, scheduler: TimmScheduler) -> None:
        self.interval: Literal["step", "epoch"] = "epoch" if scheduler.t_in_epochs else "step"
        self.last_epoch = 0
        self._advance = scheduler.step if scheduler.t_in_epochs else scheduler.step_update

    def step(self) -> None:
        self.last_epoch += 1
        self._advance(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.last_epoch = state["last_epoch"]


BuildSchedule = Callable[..., Schedule | LRScheduler | TimmScheduler]
"""Takes an optimizer, and of the phase what its parameters name: `horizon`, or what `build_schedule` lists."""

_PER_STEP = (OneCycleLR, CyclicLR)
"""Torch's schedulers that are written for a step after each batch; all others are for one after each epoch."""


def check_schedule(build: BuildSchedule) -> None:
    """Check that a schedule can be built with what the phase gives.

    Raises:
        UserError: a parameter is missing, or the scheduler keeps too little to be resumed.
    """
    target, given, arguments = _described(build)
    name = getattr(target, "__name__", str(target))
    if name == "PlateauLRScheduler":
        raise UserError(
            "scheduler: timm's PlateauLRScheduler leaves its counters out of checkpoints, so no run with it could be "
            "resumed; scheduler=plateau and torch.optim.lr_scheduler.ReduceLROnPlateau keep them"
        )
    if arguments is None or not arguments.names:
        return
    known = {_optimizer_of(arguments), "horizon", *given, *_given_by(Horizon(1, 1), given, arguments)}
    missing = [parameter for parameter in arguments.required if parameter not in known]
    if missing:
        raise UserError(f"scheduler.{missing[0]}: missing; {name} needs it (it takes {', '.join(arguments.names)})")
    for part in given.get("schedulers", ()):
        check_schedule(part)


def build_schedule(build: BuildSchedule, optimizer: Optimizer, horizon: Horizon) -> Schedule:
    """Build the schedule of one phase.

    A scheduler of torch's or timm's gets those of its parameters that the phase knows and its config leaves out: the
    length (`T_max`, `t_initial`, or `epochs` and `steps_per_epoch`) and the objective's `mode`. The `schedulers` of a
    SequentialLR or ChainedScheduler are partials, as it is one itself.
    """
    _, given, arguments = _described(build)
    if arguments is None or "horizon" in arguments.names:
        made = build(optimizer, horizon)
    else:
        added = _given_by(horizon, given, arguments)
        if "schedulers" in given:
            added["schedulers"] = [build_schedule(part, optimizer, horizon).scheduler for part in given["schedulers"]]
        made = build(**{_optimizer_of(arguments): optimizer}, **added)
    if isinstance(made, Schedule):
        return made
    if isinstance(made, TimmScheduler):
        counter = TimmCounter(made)
        return Schedule(counter, counter.interval)
    return Schedule(made, "step" if isinstance(made, _PER_STEP) else "epoch")


def _described(build: BuildSchedule) -> tuple[Callable[..., Any], Mapping[str, Any], Arguments | None]:
    """The class or function that is called, the keywords that its config gives, and the arguments that it takes."""
    target, given = (build.func, build.keywords) if isinstance(build, partial) else (build, {})
    return target, given, signature_of(target)


def _optimizer_of(arguments: Arguments) -> str:
    """The name of the parameter that takes the optimizer; by habit the first one."""
    return "optimizer" if "optimizer" in arguments.names else arguments.names[0]


def _given_by(horizon: Horizon, given: Mapping[str, Any], arguments: Arguments) -> dict[str, Any]:
    """The parameters of a stock scheduler that the phase knows and its config leaves out."""
    known: dict[str, Any] = {
        "T_max": horizon.epochs,  # CosineAnnealingLR
        "t_initial": horizon.epochs if given.get("t_in_epochs", True) else horizon.steps,  # timm's
    }
    if "total_steps" not in given:  # OneCycleLR
        known |= {"epochs": horizon.epochs, "steps_per_epoch": horizon.steps_per_epoch}
    if "patience" in arguments.names:  # ReduceLROnPlateau; the mode of CyclicLR is another thing
        known["mode"] = horizon.mode
    return {name: value for name, value in known.items() if name in arguments.names and name not in given}


def none(optimizer: Optimizer, horizon: Horizon) -> Schedule:
    """The same learning rate throughout."""
    return Schedule(None)


def step(optimizer: Optimizer, horizon: Horizon, step_size: int = 5, gamma: float = 0.5) -> Schedule:
    """Times `gamma` every `step_size` epochs."""
    return Schedule(StepLR(optimizer, step_size=step_size, gamma=gamma))


def plateau(
    optimizer: Optimizer, horizon: Horizon, factor: float = 0.5, patience: int = 3, min_lr: float = 0.0
) -> Schedule:
    """Times `factor` once the objective has not improved for more than `patience` epochs."""
    return Schedule(ReduceLROnPlateau(optimizer, mode=horizon.mode, factor=factor, patience=patience, min_lr=min_lr))


def cosine(optimizer: Optimizer, horizon: Horizon, warmup_epochs: float = 0, final_scale: float = 0.0) -> Schedule:
    """Linear warm-up, then half a cosine down to `final_scale` (SGDR without restarts, Loshchilov & Hutter 2017)."""
    return _by_progress(
        optimizer,
        horizon,
        warmup_epochs,
        lambda t: final_scale + (1 - final_scale) * (1 + math.cos(math.pi * t)) / 2,
    )


def poly(optimizer: Optimizer, horizon: Horizon, warmup_epochs: float = 0, power: float = 0.9) -> Schedule:
    """Linear warm-up, then `(1 - t) ** power` (DeepLab, Chen et al. 2017)."""
    return _by_progress(optimizer, horizon, warmup_epochs, lambda t: (1 - t) ** power)


def onecycle(
    optimizer: Optimizer,
    horizon: Horizon,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to the learning rate and down again (1cycle, Smith & Topin 2018), by cosines."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    steps = horizon.steps + 1
    scheduler = OneCycleLR(
        optimizer,
        max_lr=peaks,
        total_steps=steps,
        pct_start=pct_start if pct_start * steps > 1 else 2 / steps,  # torch divides by a climb of no step
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )
    return Schedule(scheduler, "step")


def _by_progress(
    optimizer: Optimizer, horizon: Horizon, warmup_epochs: float, shape: Callable[[float], float]
) -> Schedule:
    """Step by step: a linear warm-up, then `shape(t)` with t from 0 to 1 over the rest of the phase."""
    # a phase cut short (debug, sweeps) must still leave its warm-up
    warmup = min(round(warmup_epochs * horizon.steps_per_epoch), horizon.steps // 2)

    def scale(done: int) -> float:
        if done < warmup:
            return (done + 1) / (warmup + 1)
        return shape(min(1.0, (done - warmup) / max(1, horizon.steps - warmup)))

    return Schedule(LambdaLR(optimizer, scale), "step")

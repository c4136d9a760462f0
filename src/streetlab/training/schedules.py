"""Learning-rate schedules over one phase: torch's own, with the horizon that the phase gives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

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

    scheduler: LRScheduler | ReduceLROnPlateau | None
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


BuildSchedule = Callable[[Optimizer, Horizon], Schedule]


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

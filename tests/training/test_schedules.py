"""Learning rates over a phase, against the formulas they are named after."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from timm.scheduler.plateau_lr import PlateauLRScheduler
from torch.optim import lr_scheduler

from streetlab.config.targets import locate
from streetlab.errors import UserError
from streetlab.training import schedules
from streetlab.training.schedules import Horizon

HORIZON = Horizon(epochs=10, steps_per_epoch=4)


@pytest.fixture
def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)


def rates(optimizer, schedule, objectives=()) -> list[float]:
    """The rate that each epoch (or step) trains with, then the one after the last."""
    seen = [optimizer.param_groups[0]["lr"]]
    count = HORIZON.epochs if schedule.interval == "epoch" else HORIZON.steps
    for number in range(count):
        optimizer.step()
        schedule.step(objectives[number] if objectives else None)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def test_none_leaves_the_rate_alone(optimizer):
    assert set(rates(optimizer, schedules.none(optimizer, HORIZON))) == {0.1}


def test_step_halves_every_five_epochs(optimizer):
    seen = rates(optimizer, schedules.step(optimizer, HORIZON, step_size=5, gamma=0.5))
    assert seen[:10] == pytest.approx([0.1] * 5 + [0.05] * 5)


def test_plateau_waits_for_its_patience(optimizer):
    schedule = schedules.plateau(optimizer, HORIZON, factor=0.5, patience=2)
    seen = rates(optimizer, schedule, [0.5, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7])
    # the third epoch without improvement over 0.6 cuts the rate, then the third over 0.7
    assert seen == pytest.approx([0.1] * 5 + [0.05] * 4 + [0.025] * 2)


def test_plateau_follows_a_loss_downwards(optimizer):
    schedule = schedules.plateau(optimizer, Horizon(10, 4, mode="min"), patience=0)
    assert rates(optimizer, schedule, [1.0 - 0.1 * n for n in range(10)]) == pytest.approx([0.1] * 11)


def test_plateau_without_validation_is_one_clear_line(optimizer):
    with pytest.raises(UserError, match="plateau needs a validation"):
        schedules.plateau(optimizer, HORIZON).step(None)


def test_cosine_ends_at_its_final_scale(optimizer):
    seen = rates(optimizer, schedules.cosine(optimizer, HORIZON, final_scale=0.1))
    expected = [0.1 * (0.1 + 0.9 * (1 + math.cos(math.pi * n / 40)) / 2) for n in range(41)]
    assert seen == pytest.approx(expected)


def test_poly_with_warm_up(optimizer):
    seen = rates(optimizer, schedules.poly(optimizer, HORIZON, warmup_epochs=1, power=0.9))
    assert seen[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert seen[4:] == pytest.approx([0.1 * (1 - n / 36) ** 0.9 for n in range(37)])


def test_a_phase_cut_short_still_leaves_its_warm_up(optimizer):
    schedule = schedules.cosine(optimizer, Horizon(1, 4), warmup_epochs=5)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(None)
    assert max(seen) == pytest.approx(0.1)
    assert seen[-1] < 0.1


def test_onecycle_peaks_at_the_rate_that_was_asked_for(optimizer):
    seen = rates(optimizer, schedules.onecycle(optimizer, HORIZON, pct_start=0.3, div_factor=25, final_div_factor=1e4))
    assert seen[0] == pytest.approx(0.1 / 25)
    assert max(seen) == pytest.approx(0.1, rel=1e-2)
    assert seen[-1] < 1e-5


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("pct_start", [0.1, 0.2, 0.3, 0.5])
def test_onecycle_climbs_in_phases_cut_short_too(optimizer, steps, pct_start):
    schedule = schedules.onecycle(optimizer, Horizon(1, steps), pct_start=pct_start)
    seen = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        schedule.step(None)
        seen.append(optimizer.param_groups[0]["lr"])
    assert all(0 < rate < 0.1 + 1e-9 for rate in seen)
    assert max(seen) > 5 * seen[0]


@pytest.mark.parametrize("name", ["step", "plateau", "cosine", "poly", "onecycle", "none"])
def test_state_survives_a_checkpoint_of_plain_tensors(optimizer, name, tmp_path):
    schedule = getattr(schedules, name)(optimizer, HORIZON)
    optimizer.step()
    schedule.step(0.5)
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    schedule.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


@pytest.mark.parametrize("name", ["step", "cosine", "poly", "onecycle", "none"])
def test_a_schedule_goes_on_with_another_horizon_as_if_it_had_begun_so(name):
    def stepped(horizon: Horizon, epochs: int) -> tuple[torch.optim.Optimizer, schedules.Schedule]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        schedule = getattr(schedules, name)(optimizer, horizon)
        for _ in range(epochs * (horizon.steps_per_epoch if schedule.interval == "step" else 1)):
            optimizer.step()
            schedule.step(None)
        return optimizer, schedule

    longer = Horizon(epochs=15, steps_per_epoch=2)
    _, before = stepped(HORIZON, 6)
    expected, _ = stepped(longer, 6)
    optimizer, schedule = stepped(longer, 0)
    assert schedule.go_on(before.state_dict(), HORIZON, longer)
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    assert groups == [{key: expected.param_groups[0][key] for key in groups[0]}]


def test_plateau_goes_by_no_horizon(optimizer):
    assert not schedules.plateau(optimizer, HORIZON).go_on({}, HORIZON, Horizon(20, 4))


STOCK = {
    "torch.optim.lr_scheduler.ChainedScheduler": {
        "schedulers": [partial(lr_scheduler.ConstantLR, total_iters=3), partial(lr_scheduler.ExponentialLR, gamma=0.9)]
    },
    "torch.optim.lr_scheduler.ConstantLR": {"total_iters": 3},
    "torch.optim.lr_scheduler.CosineAnnealingLR": {},
    "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts": {"T_0": 3},
    "torch.optim.lr_scheduler.CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5},
    "torch.optim.lr_scheduler.ExponentialLR": {"gamma": 0.9},
    "torch.optim.lr_scheduler.LinearLR": {},
    "torch.optim.lr_scheduler.MultiStepLR": {"milestones": [3, 6]},
    "torch.optim.lr_scheduler.OneCycleLR": {"max_lr": 0.1},
    "torch.optim.lr_scheduler.PolynomialLR": {"total_iters": 10},
    "torch.optim.lr_scheduler.ReduceLROnPlateau": {"patience": 1},
    "torch.optim.lr_scheduler.SequentialLR": {
        "schedulers": [partial(lr_scheduler.LinearLR, total_iters=3), partial(lr_scheduler.CosineAnnealingLR)],
        "milestones": [3],
    },
    "torch.optim.lr_scheduler.StepLR": {"step_size": 3},
    "timm.scheduler.CosineLRScheduler": {"warmup_t": 2},
    "timm.scheduler.MultiStepLRScheduler": {"decay_t": [3, 6], "decay_rate": 0.5},
    "timm.scheduler.PolyLRScheduler": {"noise_range_t": [2, 8]},
    "timm.scheduler.StepLRScheduler": {"decay_t": 3, "decay_rate": 0.5},
    "timm.scheduler.TanhLRScheduler": {"t_in_epochs": False},
}


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_schedule_goes_on_from_a_checkpoint_at_the_same_rates(name, tmp_path):
    build = partial(locate(name), **STOCK[name])
    schedules.check_schedule(build)

    def begin() -> tuple[torch.optim.Optimizer, schedules.Schedule]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        return optimizer, schedules.build_schedule(build, optimizer, HORIZON)

    optimizer, schedule = begin()
    whole = rates(optimizer, schedule, [0.5] * HORIZON.steps)
    assert len(set(whole)) > 1, "nothing was scheduled"
    optimizer, schedule = begin()
    count = len(whole) // 2
    for _ in range(count):
        optimizer.step()
        schedule.step(0.5)
    torch.save([schedule.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    optimizer, schedule = begin()
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    schedule.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    seen = [optimizer.param_groups[0]["lr"]]
    for _ in range(len(whole) - 1 - count):
        optimizer.step()
        schedule.step(0.5)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == whole[count:]


def test_a_stock_schedule_gets_the_length_of_its_phase(optimizer):
    seen = rates(optimizer, schedules.build_schedule(lr_scheduler.CosineAnnealingLR, optimizer, HORIZON))
    assert seen == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 10)) for n in range(11)], abs=1e-9)


def test_a_timm_schedule_by_updates_ends_with_its_phase(optimizer):
    build = partial(CosineLRScheduler, t_in_epochs=False)
    seen = rates(optimizer, schedules.build_schedule(build, optimizer, HORIZON))
    assert seen == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 40)) for n in range(41)], abs=1e-9)


def test_a_length_of_the_configs_own_stands(optimizer):
    build = partial(lr_scheduler.CosineAnnealingLR, T_max=20)
    seen = rates(optimizer, schedules.build_schedule(build, optimizer, HORIZON))
    assert seen[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(("mode", "rate"), [("max", 0.1), ("min", 0.01)])
def test_a_stock_plateau_follows_the_objective(optimizer, mode, rate):
    schedule = schedules.build_schedule(lr_scheduler.ReduceLROnPlateau, optimizer, Horizon(12, 4, mode))
    for number in range(12):
        schedule.step(0.05 * number)  # of an accuracy that is progress, of a loss it is not
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (lr_scheduler.StepLR, "scheduler.step_size: missing; StepLR needs it"),
        (partial(lr_scheduler.SequentialLR, schedulers=[lr_scheduler.StepLR], milestones=[1]), "StepLR needs it"),
        (PlateauLRScheduler, "leaves its counters out of checkpoints"),
    ],
)
def test_what_a_stock_schedule_lacks_is_one_clear_line(build, line):
    with pytest.raises(UserError, match=line):
        schedules.check_schedule(build)

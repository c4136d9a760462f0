"""Learning rates over a phase, against the formulas they are named after."""

from __future__ import annotations

import math

import pytest
import torch

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

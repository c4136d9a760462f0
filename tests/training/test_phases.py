"""What each phase trains, with which learning rate, and what it leaves untouched."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tests.support.killed_runs import TWO_PHASES

from streetlab.errors import UserError
from streetlab.training.phases import PhaseSchedule, parse_phases


@pytest.fixture
def watched(monkeypatch):
    """Copies of the network at the start and end of each phase, and the optimizers that trained it."""
    seen: list[dict] = []
    original_start, original_end = PhaseSchedule.on_train_start, PhaseSchedule.on_train_end

    def on_train_start(self, trainer, pl_module):
        original_start(self, trainer, pl_module)
        seen.append({"name": self.phase.name, "before": clone(pl_module.network)})

    def on_train_end(self, trainer, pl_module):
        original_end(self, trainer, pl_module)
        (optimizer,) = trainer.optimizers
        seen[-1] |= {
            "after": clone(pl_module.network),
            "rates": [
                group["initial_lr"] if "initial_lr" in group else group["lr"] for group in optimizer.param_groups
            ],
            "trained": sum(len(group["params"]) for group in optimizer.param_groups),
        }

    monkeypatch.setattr(PhaseSchedule, "on_train_start", on_train_start)
    monkeypatch.setattr(PhaseSchedule, "on_train_end", on_train_end)
    return seen


def clone(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(phase: dict) -> set[str]:
    before, after = phase["before"], phase["after"]
    return {name for name in before if not torch.equal(before[name], after[name])}


AVERAGED = "callbacks.ema={_target_: streetlab.training.ema.EMA, warmup: true}"


@pytest.mark.parametrize("callback", [(), (AVERAGED,)], ids=["", "ema"])
def test_frozen_layers_stay_bit_equal_and_unfrozen_ones_change(train, watched, callback):
    train(*TWO_PHASES, *callback)
    probe, tune = watched
    assert {name.split(".")[0] for name in changed(probe)} == {"fc"}
    assert {name.split(".")[0] for name in changed(tune)} == {"layer4", "fc"}
    moved = {name for name in changed(tune) if name.endswith("running_mean")}
    assert moved, "BatchNorm of the unfrozen layer4 no longer learns its statistics"


def test_the_learning_rate_of_a_phase_follows_the_command_line(train, watched):
    train(*TWO_PHASES, "optimizer.lr=0.004", "scheduler=none")
    assert [phase["rates"] for phase in watched] == [[pytest.approx(0.004)], [pytest.approx(0.0004)]]


def test_original_regime_is_the_table_of_the_study():
    from streetlab.config.composition import composer

    with composer() as compose:
        cfg = compose.compose("train", ["experiment=cleanliness_pretrained"])
    assert (cfg.optimizer._target_, cfg.optimizer.lr, cfg.optimizer.weight_decay) == (
        "torch.optim.Adam",
        1e-3,
        1e-4,
    )
    assert (cfg.batch_size, list(cfg.image_size)) == (32, [224, 224])
    probe, tune = parse_phases([dict(phase) for phase in cfg.regime.phases], None)
    assert (probe.epochs, probe.train, probe.lr_scale) == (6, ("head",), 1.0)
    assert (tune.epochs, tune.train, tune.lr_scale, tune.start_from) == (12, ("layer4", "head"), 0.1, "best")
    assert (cfg.scheduler.factor, cfg.scheduler.patience) == (0.5, 2)


def test_second_phase_starts_from_the_best_epoch_of_the_first(train, watched):
    record = train(
        "regime=frozen_then_unfrozen",
        "regime.phases=[{name: probe, epochs: 3, train: [all]},"
        "{name: tune, epochs: 1, train: [head], start_from: best}]",
    )
    rows = [row["val/macro_f1"] for row in record.history() if row["phase"] == "probe"]
    assert rows[-1] < max(rows), "the last epoch is the best one: this test would show nothing"
    probe, tune = watched
    assert any(not torch.equal(probe["after"][name], tune["before"][name]) for name in tune["before"])


def test_learning_rates_by_group(train, watched):
    train(
        "regime=single",
        "regime.phases=[{name: all, epochs: 1, train: [all], lr_scale: {head: 10.0}}]",
        "optimizer.lr=0.001",
        "scheduler=none",
    )
    (phase,) = watched
    assert sorted(phase["rates"]) == [pytest.approx(0.001), pytest.approx(0.01)]


def test_a_phase_may_name_its_own_optimizer(train, watched):
    train(
        "regime=single",
        "regime.phases=[{name: all, epochs: 1, train: [head], optimizer: sgd}]",
        "scheduler=none",
    )
    assert watched[0]["rates"] == [pytest.approx(0.01)]  # conf/optimizer/sgd.yaml


def test_max_epochs_caps_every_phase(train):
    record = train(*TWO_PHASES, "regime.max_epochs=1")
    assert [(row["epoch"], row["phase"]) for row in record.history()] == [(1, "probe"), (2, "tune")]


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"name": "a", "epochs": 1, "trian": ["all"]}, "unknown key 'trian'.*did you mean 'train'"),
        ({"name": "a", "epochs": 1}, "'train' is missing"),
        ({"name": "a", "epochs": 0, "train": ["all"]}, "epochs: 0 is less than 1"),
        ({"name": "a", "epochs": 1, "train": ["all"], "start_from": "bets"}, "did you mean 'best'"),
    ],
)
def test_a_wrong_phase_is_named(phase, message):
    with pytest.raises(UserError, match=message):
        parse_phases([phase], None)


@pytest.mark.parametrize("value", [0, {}, 2.5])
def test_a_wrong_number_of_epochs_is_named(value):
    phase = {"name": "a", "epochs": 1, "train": ["all"]}
    for key in ("epochs", "max_epochs"):
        with pytest.raises(UserError, match=f"regime.{key}: .* is not a whole number of 1 or more"):
            parse_phases([phase], **{key: value})


def test_an_optimizer_without_a_learning_rate_is_one_line():
    regime = PhaseSchedule([{"name": "all", "epochs": 1, "train": ["all"]}], partial(torch.optim.SGD))
    with pytest.raises(UserError, match="optimizer: lr is missing, which phases scale: write lr= beside SGD"):
        regime.check(torch.nn.Linear(2, 2))

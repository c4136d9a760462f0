"""What `resume=FILE` takes over from another run, and what it refuses before the first step."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.training.conftest import CLASSES, TINY
from tests.training.test_resume import ONE_PHASE, TWO_PHASES, Killed, assert_same_bits, history, run_killed

from streetlab.runs.record import RunRecord
from streetlab.training.evaluation import evaluate_best

LONGER = "regime.epochs=6"


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def log_of(record: RunRecord) -> str:
    return (record.path / "train.log").read_text()


@pytest.fixture
def killed(train, monkeypatch, tmp_path) -> Callable[..., Path]:
    """`killed(*words)`: last.ckpt of a run in `killed` that died in its third epoch."""

    def run(*words: str, epoch: int = 3) -> Path:
        run_killed(train, monkeypatch, epoch, 0, *(words or ONE_PHASE))
        return tmp_path / "killed" / "checkpoints" / "last.ckpt"

    return run


@pytest.fixture(scope="module")
def interrupted(photos, tmp_path_factory) -> Path:
    """The folder of a run that died in its third epoch of four; to be copied."""
    folder = tmp_path_factory.mktemp("interrupted")

    def train(*words: str, output: str) -> None:
        from streetlab import cli

        cache = f"dataset.cache_dir={folder / 'cache'}"
        cli.run(["train", *TINY, f"dataset.root={photos}", cache, *words, f"output={folder / output}"])

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_killed(train, patch, 3, 0, *ONE_PHASE)
    return folder / "killed"


@pytest.fixture
def last(interrupted, tmp_path) -> Path:
    """Its last.ckpt, in a copy of its own in `killed`."""
    return shutil.copytree(interrupted, tmp_path / "killed") / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("scheduler", ["none", "step", "plateau", "cosine", "poly", "onecycle"])
def test_more_epochs_go_on_as_the_longer_run_would(train, killed, scheduler):
    words = (*ONE_PHASE, f"scheduler={scheduler}", *(["scheduler.step_size=2"] * (scheduler == "step")))
    whole = train(*words, LONGER, output="whole")
    checkpoint = killed(*words)
    before = bytes_of(checkpoint.parents[1])
    record = train(*words, LONGER, f"resume={checkpoint}", output="longer")
    assert record.state == "completed"
    rates = [[row["lr"] for row in history(each)] for each in (whole, record)]
    assert rates[1][2:] == rates[0][2:]
    if scheduler in ("none", "step", "plateau"):  # they know no horizon
        assert_same_bits(whole, record)
    else:
        assert rates[1][:2] != rates[0][:2]
    assert bytes_of(checkpoint.parents[1]) == before


def test_the_optimizer_goes_back_to_nothing_else_than_its_rates(train, killed, monkeypatch):
    words = (*ONE_PHASE, "scheduler=onecycle", "optimizer=sgd")
    momenta: list[float] = []
    original = torch.optim.SGD.step

    def step(self, *arguments, **options):
        momenta.append(self.param_groups[0]["momentum"])
        return original(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train(*words, LONGER, output="whole")
    whole, _ = list(momenta), momenta.clear()
    checkpoint = killed(*words)
    momenta.clear()
    train(*words, LONGER, f"resume={checkpoint}", output="longer")
    assert len(set(whole)) > 3, "1cycle does not move the momentum: this test would show nothing"
    assert momenta == whole[-len(momenta) :]


def test_the_record_says_where_it_comes_from_and_is_one_whole(train, last):
    sha256 = hashlib.sha256(last.read_bytes()).hexdigest()
    record = train(*ONE_PHASE, LONGER, f"resume={last}", output="longer")
    assert record.status["resumed_from"] == {"checkpoint": str(last), "sha256": sha256, "epochs": 2}
    assert [row["epoch"] for row in record.history()] == [1, 2, 3, 4, 5, 6]
    assert (record.path / "metrics.csv").read_text().splitlines()[:3] == (
        (last.parents[1] / "metrics.csv").read_text().splitlines()
    )
    scores = [row["val/macro_f1"] for row in record.history()]
    assert record.metrics["best_epoch"] == 1 + scores.index(max(scores))
    assert record.metrics["val"]["macro_f1"] == pytest.approx(max(scores), abs=1e-6)
    assert (record.figures / "curves.png").is_file()
    assert len(record.model["seconds_per_epoch"]) == 6


def test_the_best_epoch_of_before_stays_the_best(train, last, tmp_path):
    contents = torch.load(last, weights_only=True)
    best = torch.load(last.with_name("best.ckpt"), weights_only=True)
    for each in (contents, best):  # a score that no later epoch reaches
        for state in each["callbacks"].values():
            if "best_k_models" in state and state["monitor"]:
                state["best_model_score"] = state["kth_value"] = torch.tensor(2.0)
                state["best_k_models"] = dict.fromkeys(state["best_k_models"], torch.tensor(2.0))
    torch.save(contents, last)
    torch.save(best, last.with_name("best.ckpt"))
    before = bytes_of(tmp_path / "killed")
    record = train(*ONE_PHASE, LONGER, f"resume={last}", output="longer")
    assert record.metrics["best_epoch"] == best["epoch"] + 1 <= 2
    tested = torch.load(record.checkpoints / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(tested[name], best["state_dict"][name]) for name in tested)
    row = record.history()[best["epoch"]]
    assert record.metrics["val"]["macro_f1"] == pytest.approx(row["val/macro_f1"], abs=1e-6)
    assert bytes_of(tmp_path / "killed") == before


def test_what_is_not_beside_the_checkpoint_is_said_to_be_missing(train, last, tmp_path):
    alone = shutil.copy(last, tmp_path / "alone.ckpt")
    record = train(*ONE_PHASE, LONGER, f"resume={alone}", output="longer")
    assert record.metrics["best_epoch"] >= 3
    assert [row["epoch"] for row in record.history()] == [3, 4, 5, 6]
    assert (record.figures / "curves.png").is_file()
    assert "no epoch up to 2 can become the best one: no " in log_of(record)
    assert "metrics.csv does not go on from all epochs up to 2: no " in log_of(record)


def test_a_best_epoch_that_came_later_does_not_count(train, last):
    best = last.with_name("best.ckpt")
    contents = torch.load(best, weights_only=True)
    torch.save({**contents, "epoch": 3}, best)
    record = train(*ONE_PHASE, LONGER, f"resume={last}", output="longer")
    assert record.metrics["best_epoch"] >= 3
    assert "best.ckpt is of a later epoch" in log_of(record)


def test_the_same_command_goes_on_from_its_own_epochs_and_skips_a_completed_run(train, last, monkeypatch, capsys):
    words = (*ONE_PHASE, LONGER, f"resume={last}")
    original = PhaseScheduleHook(5)
    with monkeypatch.context() as patch:
        original.install(patch)
        with pytest.raises(Killed):
            train(*words, output="longer")
    record = train(*words, output="longer")
    assert "resuming after epoch 4" in log_of(record)
    assert record.status["resumed_from"]["epochs"] == 2
    assert_same_bits(train(*words, output="at-once"), record)
    capsys.readouterr()
    train(*words, output="longer")
    assert "already completed, skipped" in capsys.readouterr().out


class PhaseScheduleHook:
    """Kills a training at the beginning of an epoch, counted from 1."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def install(self, patch: pytest.MonkeyPatch) -> None:
        from streetlab.training.phases import PhaseSchedule

        original = PhaseSchedule.on_train_epoch_start

        def hook(callback, trainer, pl_module):
            if trainer.current_epoch + 1 == self.epoch:
                raise Killed
            original(callback, trainer, pl_module)

        patch.setattr(PhaseSchedule, "on_train_epoch_start", hook)

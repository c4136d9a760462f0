"""What `resume=FILE` takes over from another run, and what it refuses before the first step."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.killed_runs import ONE_PHASE, TWO_PHASES, Killed, assert_same_bits, history, run_killed
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import RunRecord
from streetlab.training.phases import PhaseSchedule

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


@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "onecycle"])
def test_more_epochs_go_on_as_the_longer_run_would(train, killed, scheduler):
    words = (*ONE_PHASE, f"scheduler={scheduler}")
    whole = train(*words, LONGER, output="whole")
    checkpoint = killed(*words)
    before = bytes_of(checkpoint.parents[1])
    record = train(*words, LONGER, f"resume={checkpoint}", output="longer")
    assert record.state == "completed"
    rates = [[row["lr"] for row in history(each)] for each in (whole, record)]
    assert rates[1][2:] == rates[0][2:]
    if scheduler == "plateau":  # it knows no horizon
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
    assert "the best epoch up to 2 does not count: no " in log_of(record)
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
    original = PhaseSchedule.on_train_epoch_start

    def die_in_the_fifth(callback, trainer, pl_module):
        if trainer.current_epoch == 4:
            raise Killed
        original(callback, trainer, pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(PhaseSchedule, "on_train_epoch_start", die_in_the_fifth)
        with pytest.raises(Killed):
            train(*words, output="longer")
    record = train(*words, output="longer")
    assert "resuming after epoch 4" in log_of(record)
    assert record.status["resumed_from"]["epochs"] == 2
    assert_same_bits(train(*words, output="at-once"), record)
    capsys.readouterr()
    train(*words, output="longer")
    assert "already completed, skipped" in capsys.readouterr().out


def test_nothing_left_to_train_is_tested(train, last):
    record = train(*ONE_PHASE, "regime.epochs=2", f"resume={last}", output="shorter")
    assert record.state == "completed"
    assert [row["epoch"] for row in record.history()] == [1, 2]
    assert record.metrics["best_epoch"] <= 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*ONE_PHASE, "regime.epochs=1"), "has 2 epochs of phase 'train' behind it, more than the 1 asked for"),
        ((*ONE_PHASE, LONGER, "optimizer.lr=0.1"), "another config: optimizer.lr is 0.01 there, 0.1 here; only"),
        ((*ONE_PHASE, LONGER, "optimizer=sgd"), "optimizer._target_ is 'torch.optim.Adam' there, 'torch.optim.SGD'"),
        ((*ONE_PHASE, LONGER, "scheduler=poly"), "schedules.cosine' there, 'streetlab.training.schedules.poly' here;"),
        ((*ONE_PHASE, LONGER, "batch_size=4"), "batch_size is 8 there, 4 here"),
        ((*ONE_PHASE, LONGER, "image_size=[64,64]"), "image_size is [32, 32] there, [64, 64] here"),
        ((*ONE_PHASE, LONGER, "regime.layer_decay=0.5"), "regime.layer_decay is null there, 0.5 here; only"),
        ((*ONE_PHASE, LONGER, "model.name=test_vit"), "model.name is 'test_resnet' there, 'test_vit' here"),
        (TWO_PHASES, "stopped in phase 'train'; this regime has probe, tune"),
        (
            ("regime=single", "regime.phases=[{name: train, epochs: 6, train: [head]}]"),
            "has phase 'train' behind it with train ('all',), this regime has ('head',)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_differ_is_refused_before_the_first_step(train, last, tmp_path, capsys, words, message):
    before = bytes_of(tmp_path / "killed")
    record = train(*words, f"resume={last}", output="other", code=2)
    error = capsys.readouterr().err
    assert f"resume: {last} " in error
    assert message in error
    assert "Traceback" not in error
    assert not (record.path / "metrics.csv").exists()
    assert bytes_of(tmp_path / "killed") == before


def test_no_epoch_to_train_and_no_best_one(train, last, capsys):
    last.with_name("best.ckpt").unlink()
    train(*ONE_PHASE, "regime.epochs=2", f"resume={last}", output="shorter", code=2)
    assert "leaves no epoch to train, and the best one is not to be had: no " in capsys.readouterr().err


def test_a_completed_run_has_left_out_what_training_on_needs(train, tmp_path, capsys):
    record = train("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")
    train(*ONE_PHASE, f"resume={record.checkpoints / 'last.ckpt'}", output="other", code=2)
    assert "last.ckpt is of a completed run" in capsys.readouterr().err
    train(*ONE_PHASE, f"resume={record.path}", output="other", code=2)
    assert f"did you mean {record.checkpoints / 'last.ckpt'}?" in capsys.readouterr().err


def test_epochs_that_come_from_elsewhere_are_not_overwritten(train, last, tmp_path, capsys):
    other = shutil.copytree(tmp_path / "killed", tmp_path / "other") / "checkpoints" / "last.ckpt"
    before = bytes_of(tmp_path / "killed")
    train(*ONE_PHASE, f"resume={other}", output="killed", code=2)
    assert f"holds epochs that do not come from {other}" in capsys.readouterr().err
    assert bytes_of(tmp_path / "killed") == before


def test_the_run_of_the_checkpoint_still_trains(train, last, capsys):
    with subprocess.Popen(["sleep", "60"]) as process:
        RunRecord(last.parents[1]).write_status(state="running", host=socket.gethostname(), process=process.pid)
        train(*ONE_PHASE, LONGER, f"resume={last}", output="longer", code=2)
        process.kill()
    assert f"is being written by process {process.pid}" in capsys.readouterr().err


def test_a_record_that_was_moved_keeps_its_best_epoch(train, last, tmp_path):
    whole = train(*ONE_PHASE, output="whole")
    (tmp_path / "killed").rename(tmp_path / "moved")
    assert_same_bits(whole, train(*ONE_PHASE, output="moved"))


def test_later_phases_may_be_asked_for_anew(train, killed):
    checkpoint = killed(*TWO_PHASES, epoch=4)
    later = f"{TWO_PHASES[1].removesuffix(']')},{{name: all, epochs: 1, train: [all], start_from: best}}]"
    record = train(TWO_PHASES[0], later, f"resume={checkpoint}", output="longer")
    assert [row["phase"] for row in record.history()] == ["probe"] * 2 + ["tune"] * 3 + ["all"]
    whole = train(TWO_PHASES[0], later, output="whole")
    assert_same_bits(whole, record)


def test_two_phases_of_one_name(train, monkeypatch):
    words = (
        "regime=single",
        "regime.phases=[{name: train, epochs: 2, train: [head]},{name: train, epochs: 2, train: [all]}]",
    )
    whole = train(*words, output="whole")
    run_killed(train, monkeypatch, 4, 0, *words)
    assert_same_bits(whole, train(*words, output="killed"))


@pytest.mark.slow
def test_two_processes_go_on_from_one(photos, last, tmp_path):
    words = [
        sys.executable, "-m", "streetlab", "train", *TINY, f"dataset.root={photos}", *ONE_PHASE, LONGER,
        "trainer=ddp_cpu", "trainer.precision=32-true", "scheduler=cosine", f"resume={last}",
        f"output={tmp_path / 'longer'}",
    ]  # fmt: skip
    subprocess.run(words, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=300)
    rates = [row["lr"] for row in RunRecord(tmp_path / "longer").history()]
    assert rates[2:] == pytest.approx([0.01 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(3, 7)])

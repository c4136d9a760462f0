"""A run that was killed anywhere and started again ends with the same bits as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.support.killed_runs import ONE_PHASE, TWO_PHASES, assert_same_bits, run_killed
from tests.support.tiny_runs import TINY

from streetlab.records.record import RunRecord
from streetlab.training.phases import PhaseSchedule


@pytest.mark.parametrize(
    ("regime", "epoch"),
    [(ONE_PHASE, 3), (TWO_PHASES, 2), (TWO_PHASES, 3), (TWO_PHASES, 5)],
    ids=["one-phase", "frozen-phase", "first-epoch-after-the-boundary", "unfrozen-phase"],
)
@pytest.mark.parametrize(
    "options",
    [
        ("model.dropout=0.5", "scheduler=plateau", "scheduler.patience=0"),
        ("model.dropout=0.5", "num_workers=2", "scheduler=cosine", "augment=strong"),
    ],
    ids=["plateau", "workers-cosine-strong"],
)
def test_a_killed_run_resumes_to_the_same_bits(train, monkeypatch, regime, epoch, options):
    whole = train(*regime, *options, output="whole")
    run_killed(train, monkeypatch, epoch, 1, *regime, *options)
    record = train(*regime, *options, output="killed")
    assert record.state == "completed"
    assert_same_bits(whole, record)
    seconds = record.model["seconds_per_epoch"]
    assert len(seconds) == len(record.history())
    assert max(seconds) < 100, "the clock of the first resumed epoch was never started"


@pytest.mark.parametrize("scheduler", ["step", "poly", "onecycle", "none"])
def test_every_schedule_goes_on_where_it_was(train, monkeypatch, scheduler):
    words = (*ONE_PHASE, f"scheduler={scheduler}")
    whole = train(*words, output="whole")
    run_killed(train, monkeypatch, 3, 0, *words)
    assert_same_bits(whole, train(*words, output="killed"))


def test_averaged_weights_survive_a_kill(train, monkeypatch):
    words = (*TWO_PHASES, "callbacks.ema={_target_: streetlab.training.ema.EMA, decay: 0.9}")
    whole = train(*words, output="whole")
    run_killed(train, monkeypatch, 4, 1, *words)
    assert_same_bits(whole, train(*words, output="killed"))


def test_workers_do_not_change_the_result(train):
    one = train(*ONE_PHASE, "num_workers=0", output="alone")
    assert_same_bits(one, train(*ONE_PHASE, "num_workers=2", output="helped"))


def test_interrupt_leaves_a_checkpoint_and_says_so(train, monkeypatch):
    ctrl_c = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        original = PhaseSchedule.on_train_batch_start

        def hook(self, trainer, pl_module, *rest):
            if trainer.current_epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            original(self, trainer, pl_module, *rest)

        patch.setattr(PhaseSchedule, "on_train_batch_start", hook)
        record = train(*ONE_PHASE, output="stopped", code=130)
    assert record.state == "interrupted"
    assert (record.checkpoints / "last.ckpt").exists()
    assert signal.getsignal(signal.SIGINT) is ctrl_c, "Lightning left Ctrl-C switched off"
    assert_same_bits(train(*ONE_PHASE, output="whole"), train(*ONE_PHASE, output="stopped"))


@pytest.mark.slow
def test_kill_9_of_the_real_process(train, photos, tmp_path):
    words = (*TWO_PHASES, "model.dropout=0.5")
    whole = train(*words, output="whole")
    line = [
        sys.executable, "-m", "streetlab", "train", *TINY, *words, f"dataset.root={photos}",
        f"dataset.cache_dir={tmp_path / 'cache'}", f"output={tmp_path / 'killed'}",
    ]  # fmt: skip
    process = subprocess.Popen(line, cwd=tmp_path)
    metrics = tmp_path / "killed" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 2):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert RunRecord(tmp_path / "killed").state == "running"
    assert_same_bits(whole, train(*words, output="killed"))

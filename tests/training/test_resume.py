"""A run that was killed anywhere and started again ends with the same bits as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.support.killed_runs import ONE_PHASE, TWO_PHASES, assert_same_bits, run_killed
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import RunRecord
from streetlab.training.phases import PhaseSchedule

MOMENTS = {
    "one-phase": (ONE_PHASE, 3),
    "frozen-phase": (TWO_PHASES, 2),
    "first-epoch-after-the-boundary": (TWO_PHASES, 3),
    "unfrozen-phase": (TWO_PHASES, 5),
}
OPTIONS = {
    "plateau": ("model.dropout=0.5", "scheduler=plateau", "scheduler.patience=0"),
    "workers-cosine-strong": (
        "model.dropout=0.5",
        "num_workers=2",
        "scheduler=cosine",
        "augment=strong",
        "mix=mixup_cutmix",
        "model.drop_path=0.2",
        "regime.layer_decay=0.8",
    ),
}


@pytest.fixture(scope="module")
def whole_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunRecord]:
    """`whole_run("key=value", ...)`: the record of a run of these words that nothing broke off, trained once."""
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def run(*words: str) -> RunRecord:
        places = (f"dataset.root={photos}", f"dataset.cache_dir={folder / 'cache'}")
        record = RunRecord(Path(tempfile.mkdtemp(dir=folder)) / "run")
        assert cli.run(["train", *TINY, *places, *words, f"output={record.path}"]) == 0
        return record

    return run


@pytest.mark.parametrize(
    ("moment", "options"),
    [
        # workers and their seeds make no difference to where a run is broken off: one moment guards them in every run
        pytest.param(
            moment,
            options,
            id=f"{options}-{moment}",
            marks=[pytest.mark.slow] if options != "plateau" and moment != "first-epoch-after-the-boundary" else [],
        )
        for options in OPTIONS
        for moment in MOMENTS
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(train, whole_run, monkeypatch, moment, options):
    regime, epoch = MOMENTS[moment]
    options = OPTIONS[options]
    whole = whole_run(*regime, *options)
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
    words = (*TWO_PHASES, "callbacks.ema={_target_: streetlab.training.ema.EMA, decay: 0.9, warmup: true}")
    whole = train(*words, output="whole")
    run_killed(train, monkeypatch, 4, 1, *words)
    assert_same_bits(whole, train(*words, output="killed"))


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [2, 3])
def test_a_phase_of_small_images_goes_on_at_their_size(train, monkeypatch, epoch):
    words = (
        "regime=single",
        "regime.phases=[{name: small, epochs: 2, train: [all], image_size: [32, 32]},"
        "{name: full, epochs: 1, train: [all]}]",
        "image_size=[48,48]",
    )
    whole = train(*words, output="whole")
    run_killed(train, monkeypatch, epoch, 1, *words)
    assert_same_bits(whole, train(*words, output="killed"))


def test_workers_do_not_change_the_result(train, whole_run):
    assert_same_bits(whole_run(*ONE_PHASE), train(*ONE_PHASE, "num_workers=2", output="helped"))


def test_interrupt_leaves_a_checkpoint_and_says_so(train, whole_run, monkeypatch):
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
    unfinished = record.checkpoints / ".best.ckpt.1-ab.tmp"
    unfinished.write_text("what kill -9 leaves of a file that was being written")
    assert_same_bits(whole_run(*ONE_PHASE), train(*ONE_PHASE, output="stopped"))
    assert not unfinished.exists()


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

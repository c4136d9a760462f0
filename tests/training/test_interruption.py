"""A run that a cluster ends leaves its record first, queues again after that, and goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import RunRecord, find_runs
from streetlab.training.interruption import ends_as_ctrl_c, waits_for_the_first

NUMBERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
ROOT = Path(__file__).parents[2]
WARNED = (
    "regime=single",
    "regime.phases=[{name: train, epochs: 4, train: [all]}]",
    "+callbacks.warned._target_=tests.support.warned.Warned",
    "+callbacks.warned.marker=warned_once",
)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A job of submitit's on SLURM, whose handler tells us when it is called."""
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    happened: list[str] = []
    kept = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGUSR2, lambda number, frame: happened.append("queued again"))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield happened
    for number, handler in kept.items():
        signal.signal(number, handler)


def run_that_receives(number: signal.Signals, happened: list[str]) -> None:
    with ends_as_ctrl_c():
        try:
            os.kill(os.getpid(), number)
            raise AssertionError("the signal did nothing")
        finally:
            os.kill(os.getpid(), number)  # again, while the record is being written
            happened.append("recorded")


def interrupted_by(number: signal.Signals, happened: list[str]) -> None:
    handlers = [signal.getsignal(n) for n in NUMBERS]
    with pytest.raises(KeyboardInterrupt):
        run_that_receives(number, happened)
    assert [signal.getsignal(n) for n in NUMBERS] == handlers


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_the_record_is_written_before_the_job_queues_again(cluster, number):
    interrupted_by(number, cluster)
    assert cluster == ["recorded", "queued again"]


@pytest.mark.parametrize(
    ("squeue", "expected"),
    [
        ("echo RUNNING", ["recorded", "queued again"]),  # preempted
        ("echo COMPLETING", ["recorded"]),  # scancel
        ("exit 1", ["recorded"]),
    ],
)
def test_a_cancelled_job_does_not_come_back(cluster, monkeypatch, tmp_path, squeue, expected):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{squeue}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    interrupted_by(signal.SIGTERM, cluster)
    assert cluster == expected


def test_ctrl_c_does_not_queue_again(cluster):
    with pytest.raises(KeyboardInterrupt), ends_as_ctrl_c():
        raise KeyboardInterrupt
    assert cluster == []


def test_the_other_tasks_of_a_job_outlive_the_signal(cluster, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with waits_for_the_first():
        for number in NUMBERS:
            os.kill(os.getpid(), number)
    assert cluster == []


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [1, 2])
def test_a_submitted_job_is_warned_and_goes_on(photos, tmp_path, monkeypatch, tasks):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    trainer = ["trainer=ddp_cpu", f"hydra.launcher.tasks_per_node={tasks}"] if tasks > 1 else []
    words = [f"dataset.root={photos}", "dataset.cache_dir=cache", "output=sweep", "resume=never"]
    line = ["train", "-m", *TINY, *WARNED, *words, "hydra/launcher=submitit_local", *trainer]
    assert cli.run([*line, "+callbacks.warned.number=SIGUSR1"]) == 0
    (record,) = find_runs(tmp_path / "sweep")
    assert record.state == "completed"
    assert [row["epoch"] for row in record.history()] == [1, 2, 3, 4]
    assert "resuming after epoch 1" in (record.path / "train.log").read_text()
    assert record.status["job"]


@pytest.mark.slow
def test_processes_of_torchrun_agree_on_record_and_checkpoint(photos, tmp_path):
    line = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "streetlab", "train", *TINY,
        *WARNED, f"dataset.root={photos}", "trainer=ddp_cpu", "trainer.precision=32-true",
        f"output={tmp_path / 'run'}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(code: bool) -> str:
        words = [*line, "+callbacks.warned.number=SIGTERM"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode == 0) == code, done.stderr
        return done.stdout

    run(code=False)
    record = RunRecord(tmp_path / "run")
    assert record.state == "interrupted"
    run(code=True)
    assert record.state == "completed"
    assert [row["epoch"] for row in record.history()] == [1, 2, 3, 4]
    log = (record.path / "train.log").read_text()
    assert log.count("resuming after epoch 1") == 1
    predictions = record.predictions("test")
    assert len(set(predictions.ids)) == len(predictions.ids) == record.metrics["test"]["n"] == 12
    assert run(code=True).count("already completed, skipped") == 1

"""Sweeps that survive: killed, failing, extended, started over; and what they leave in memory."""

from __future__ import annotations

import csv
import gc
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import RunRecord, find_runs

SHORT = ("regime.max_epochs=1", "debug=fast_dev_run")
FAULTS = (
    "+callbacks.faults._target_=tests.support.faults.Faults",
    "+callbacks.faults.seed=${seed}",
    "+callbacks.faults.marker=killed_once",
)


@pytest.fixture
def words(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a sweep of tiny runs, without what is swept."""
    monkeypatch.chdir(tmp_path)
    places = [f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}", "output=sweep"]
    return ["train", "-m", *TINY, *SHORT, *places]


def states(folder: Path) -> dict[str, str]:
    return {record.name: record.state for record in find_runs(folder)}


def summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_failing_job_leaves_its_record_and_the_sweep_goes_on(words, tmp_path, capsys):
    faults = [*FAULTS, "+callbacks.faults.killed=none", "+callbacks.faults.failing='1 train'"]
    assert cli.run([*words, *faults, "seed=0,1,2"]) == 1
    folder = tmp_path / "sweep"
    assert Counter(states(folder).values()) == {"completed": 2, "failed": 1}
    (failed,) = (record for record in find_runs(folder) if record.state == "failed")
    assert failed.status["error"] == "this job always fails"
    assert "in on_train_epoch_end" in failed.status["traceback"]
    assert "RuntimeError: this job always fails" in (failed.path / "train.log").read_text()
    said = capsys.readouterr()
    assert "3 runs: 2 completed, 1 failed; sweep/summary.html" in said.out
    assert said.err.splitlines()[-2] == "streetlab: failed jobs: 1"
    assert said.err.splitlines()[-1].startswith("  1: ")
    assert "seed=1" in said.err.splitlines()[-1]
    rows = summary(folder)
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert [row["error"] for row in rows] == ["", "this job always fails", ""]
    assert all(float(row["test_macro_f1"]) >= 0 for row in rows if row["state"] == "completed")


def test_a_job_that_fails_before_its_record_was_opened_has_one_all_the_same(words, tmp_path):
    assert cli.run([*words, "seed=0,1", "trainer.accelerator=nonsense"]) == 1
    failed = find_runs(tmp_path / "sweep")
    assert [record.state for record in failed] == ["failed", "failed"]
    assert cli.run([*words, "seed=0,1", "batch_size=0"]) == 1  # beside them, in folders of their own
    assert len(find_runs(tmp_path / "sweep")) == 4
    assert all(record.status["error"] for record in find_runs(tmp_path / "sweep"))


@pytest.mark.slow
def test_a_job_that_may_not_have_its_folder_leaves_what_is_there(words, tmp_path, capsys):
    assert cli.run([*words, "seed=0,1"]) == 0
    one, other = find_runs(tmp_path / "sweep")
    changed = one.config | {"batch_size": 3}
    one.write_config(changed, ["batch_size=3"])
    one.write_status(state="failed")
    assert cli.run([*words, "seed=0,1"]) == 1
    assert "holds the record of another config" in capsys.readouterr().err
    assert one.config == changed
    assert other.state == "completed"


@pytest.mark.slow
def test_an_extended_sweep_runs_what_is_new(words, tmp_path, capsys):
    assert cli.run([*words, "seed=0,1"]) == 0
    before = {r.name: r.status["ended"] for r in find_runs(tmp_path / "sweep")}
    stamps = {r.name: (r.path / "metrics.json").stat().st_mtime_ns for r in find_runs(tmp_path / "sweep")}
    capsys.readouterr()
    assert cli.run([*words, "seed=0,1,2"]) == 0
    assert capsys.readouterr().out.count("already completed, skipped") == 2
    after = find_runs(tmp_path / "sweep")
    assert len(after) == 3
    for record in after:
        if record.name in before:
            assert record.status["ended"] == before[record.name]
            assert (record.path / "metrics.json").stat().st_mtime_ns == stamps[record.name]
    assert len(summary(tmp_path / "sweep")) == 3


@pytest.mark.slow
def test_a_sweep_that_starts_over_takes_a_new_folder(words, tmp_path):
    assert cli.run([*words, "seed=0,1"]) == 0
    stamp = (tmp_path / "sweep" / "summary.csv").stat().st_mtime_ns
    assert cli.run([*words, "seed=0,1", "resume=never"]) == 0
    assert states(tmp_path / "sweep-2") == states(tmp_path / "sweep")
    assert (tmp_path / "sweep" / "summary.csv").stat().st_mtime_ns == stamp


def test_the_summary_is_one_table_in_four_files(words, tmp_path):
    assert cli.run([*words, "seed=0,1"]) == 0
    folder = tmp_path / "sweep"
    rows = json.loads((folder / "summary.json").read_text())
    assert rows["states"] == {"completed": 2}
    for row, record in zip(rows["jobs"], find_runs(folder), strict=True):
        assert row["run"] == record.name
        assert row["test_accuracy"] == record.metrics["test"]["accuracy"]
        assert row["val_macro_f1"] == record.metrics["objective"]["best"]
        for name in ("summary.md", "summary.html", "summary.csv"):
            assert record.name in (folder / name).read_text()


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.slow
def test_six_jobs_leave_no_tensor_behind(words, tmp_path):
    faults = [*FAULTS, "+callbacks.faults.killed=none", "+callbacks.faults.failing='1 train'"]
    assert cli.run([*words, *faults, "seed=9"]) == 0  # what is made once per process is made
    before = live_tensors()
    assert cli.run([*words, *faults, "seed=0,1,2", "regime=single,full_finetune", "output=six"]) == 1
    assert Counter(states(tmp_path / "six").values()) == {"completed": 5, "failed": 1}
    assert live_tensors() == before


@pytest.mark.slow
def test_a_killed_sweep_is_finished_by_the_same_command(words, tmp_path):
    """Two regimes and four seeds: kill -9 in the third job, and one that always fails."""
    line = [sys.executable, "-m", "streetlab", *words, *FAULTS, "+callbacks.faults.killed='2 train'"]
    line += ["+callbacks.faults.failing='1 probe'", "regime=single,full_finetune", "seed=0,1,2,3"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}

    def sweep() -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    folder = tmp_path / "sweep"
    assert sweep().returncode == -9
    found = find_runs(folder)
    assert Counter(record.state for record in found) == {"completed": 2, "running": 1}
    assert len(summary(folder)) == 2  # written after the second job; the third was killed
    first_two = {r.path: r.status for r in found if r.state == "completed"}

    second = sweep()
    assert second.returncode == 1
    assert "8 runs: 7 completed, 1 failed" in second.stdout
    assert second.stdout.count("already completed, skipped") == 2
    assert "streetlab: failed jobs: 1" in second.stderr
    assert "seed=1" in second.stderr.splitlines()[-1]
    assert "regime=full_finetune" in second.stderr.splitlines()[-1]
    assert {path: RunRecord(path).status for path in first_two} == first_two
    rows = summary(folder)
    assert len(rows) == 8
    assert Counter(row["state"] for row in rows) == {"completed": 7, "failed": 1}

    third = sweep()
    assert third.stdout.count("already completed, skipped") == 7
    assert third.returncode == 1

"""Sweeps over several processes: who computes where, and what a failing job leaves of the others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from streetlab import cli

STAND_IN = '''
"""In place of the train command: notes where each job runs."""
import json, os, time
from pathlib import Path
from streetlab.errors import UserError

def run(cfg):
    import torch
    place = {"seed": cfg.seed, "device": os.environ["CUDA_VISIBLE_DEVICES"], "process": os.getpid(),
             "threads": torch.get_num_threads()}
    Path(f"job_{cfg.seed}.json").write_text(json.dumps(place))
    deadline = time.monotonic() + 60
    while cfg.seed < 2 and len(list(Path().glob("job_[01].json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)  # neither of the first two ends before the other has begun
    if cfg.seed == 2:
        raise UserError("two is not for us")
'''


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in_for_train.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Command("stand_in_for_train", "trains nothing"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_each_worker_has_a_device_and_its_part_of_the_cores(stand_in, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert cli.run(["train", "-m", "seed=0,1,2,3,4", "hydra/launcher=workers", "hydra.launcher.n_jobs=2"]) == 1
    jobs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("job_*.json"))]
    assert [job["seed"] for job in jobs] == [0, 1, 2, 3, 4], "a failing job must not stop the sweep"
    by_process = {job["process"]: job["device"] for job in jobs}
    assert sorted(by_process.values()) == ["3", "5"]
    assert all(by_process[job["process"]] == job["device"] for job in jobs), "a process keeps its device"
    cores = len(os.sched_getaffinity(0))
    assert {job["threads"] for job in jobs} == {max(cores // 2, 1)}
    said = capfd.readouterr().err
    assert "streetlab: job 2 (seed=2): two is not for us" in said
    assert "streetlab: failed jobs: 1" in said
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"

"""The soak finds what is planted: half-written files, leftovers, processes and tracebacks that outlive a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.soak import soak
from tests.soak.disturbances import DISTURBANCES, impossible_here
from tests.soak.jobs import JOBS, Job
from tests.soak.report import Cycle, Result, Step, summary
from tests.soak.soak import Soak, draw

WHOLE = """
import json, os, time
for number in range(5):
    time.sleep(0.05)
    temporary = f".{number}.json.tmp"
    try:
        with open(temporary, "w") as file:
            json.dump(list(range(2000)), file)
        os.replace(temporary, f"{number}.json")
    except OSError as error:
        raise SystemExit(f"cannot write: {error}")
for left in [name for name in os.listdir() if name.endswith(".tmp")]:
    os.unlink(left)
"""
IN_HALVES = """
import json, time
text = json.dumps(list(range(2000)))
with open("result.json", "w") as file:
    file.write(text[:5000]); file.flush(); time.sleep(3)
    file.write(text[5000:])
"""
LEAVES_A_FILE = """
import os, time, pathlib
pathlib.Path(f"{os.getpid()}.tmp").touch(); time.sleep(3)
pathlib.Path(f"{os.getpid()}.tmp").unlink()
pathlib.Path("result.txt").write_text("done")
"""
LEAVES_A_PROCESS = """
import subprocess, time, pathlib
other = subprocess.Popen(["sleep", "60"]); time.sleep(3); other.kill(); other.wait()
pathlib.Path("result.txt").write_text("done")
"""
TRACES = """
import time, pathlib
time.sleep(3); pathlib.Path("result.txt").write_text("done")
"""


@pytest.fixture
def disturbed(tmp_path: Path):
    """`disturbed(program, disturbance, when)`: the violations of one cycle with that program in place of streetlab."""
    (tmp_path / "inputs").mkdir()

    def run(program: str, disturbance: str, when: float) -> list[str]:
        path = tmp_path / "program.py"
        path.write_text(program)
        job = Job("planted", (), (), (sys.executable, str(path)))
        one = Soak(tmp_path, [job])
        try:
            return one.run(Cycle(0, "planted", disturbance, when)).violations
        finally:
            one.close()

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "disturbance", "found"),
    [
        (IN_HALVES, "kill", "half-written"),
        (LEAVES_A_FILE, "terminate", "file left over"),
        (LEAVES_A_PROCESS, "kill", "processes outlive the command: 1"),
        (TRACES, "interrupt", "a traceback reached the user"),
    ],
    ids=["half a file", "a file", "a process", "a traceback"],
)
def test_what_is_planted_is_found(disturbed, program, disturbance, found) -> None:
    assert any(found in violation for violation in disturbed(program, disturbance, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize(
    "disturbance", ["kill", "stop", "full disk", "slow disk", "stale lock", "second process", "little memory"]
)
def test_a_writer_of_whole_files_passes(disturbed, disturbance) -> None:
    if disturbance in impossible_here():
        pytest.skip(impossible_here()[disturbance])
    assert disturbed(WHOLE, disturbance, 0.6) == []


def test_cycles_follow_from_the_seed_and_reach_every_command_and_disturbance(tmp_path) -> None:
    names = [job.name for job in JOBS]
    cycles = [draw(3, number, names, DISTURBANCES) for number in range(400)]
    assert cycles == [draw(3, number, names, DISTURBANCES) for number in range(400)]
    assert {cycle.job for cycle in cycles} == set(names)
    assert {cycle.disturbance for cycle in cycles} == set(DISTURBANCES)
    log = tmp_path / "soak.jsonl"
    log.write_text("".join(json.dumps({"cycle": vars(cycle), "code": 0}) + "\n" for cycle in cycles[:3]))
    assert list(soak._cycles({"replay": str(log)}, {})) == cycles[:3]


def test_the_summary_counts_what_met_a_command_and_says_how_to_repeat_a_violation() -> None:
    well = Result(Cycle(4, "audit", "kill", 0.2), [Step("kill", True, -9, ""), Step("stop", False, 0, "")], 1)
    ill = Result(Cycle(7, "train", "stop", 0.5), [Step("stop", True, 1, "")], 1, ["missing file: a.json (after stop)"])
    lines = summary([well, ill], {"slow disk": "no disk"}, Path("soak.jsonl"), 3.0).splitlines()
    assert lines[:5] == [
        "| command | kill | stop | all |",
        "|---|---|---|---|",
        "| audit | 1 | 0 | 1 |",
        "| train | 0 | 1 | 1 |",
        "| all | 1 | 1 | 2 |",
    ]
    assert "not possible here: slow disk: no disk" in lines
    assert "2 disturbances in 2 cycles and 3 minutes, 1 violations in 1 cycles" in lines
    assert "  1 missing file" in lines
    assert lines[-1] == "again: python -m tests.soak.soak replay=soak.jsonl cycles=7 log=again.jsonl"

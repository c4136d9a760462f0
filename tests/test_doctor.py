"""`streetlab doctor`: true words about this machine, and a bad exit code only where something needed is broken."""

from __future__ import annotations

import os
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from streetlab import cli, doctor

ROOT = Path(__file__).parents[1]


@pytest.fixture
def step(monkeypatch):
    """`step(code, stderr)`: what the training step answers, in place of a training."""

    def answer(code: int, stderr: str = "") -> None:
        done = subprocess.CompletedProcess([], code, "", stderr)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *words, **options: done)

    return answer


def test_a_sound_machine_is_described_and_passes(step, capsys):
    step(0)
    assert cli.run(["doctor"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    assert lines["cores"].startswith(f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} ")
    assert lines["torch"] == torch.__version__
    assert lines["training"].startswith("one step works, ")
    assert "everything" in lines


def test_a_step_that_fails_is_told_with_its_error_and_exits_with_1(step, capsys):
    step(2, "hashing\nstreetlab: output: cannot write\n")
    assert cli.run(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "training      BROKEN output: cannot write; streetlab train dataset.train=8 " in captured.out
    assert "\nbroken: 1;" in captured.out
    assert captured.err == ""
    step(-4)  # illegal instruction
    assert cli.run(["doctor"]) == 1
    assert "training      BROKEN exit code -4; " in capsys.readouterr().out


def test_packages_are_held_against_what_streetlab_needs():
    lines = dict(
        doctor.packages(
            map(
                Requirement,
                [
                    "numpy>=1",
                    "pillow>=999",
                    "surely-not-there>=1",
                    'torch>=2; extra == "app"',
                    'surely-not-there-either; extra == "video"',
                    'surely-not-there-either; extra == "dev"',
                ],
            )
        )
    )
    assert lines == {
        f"packages      BROKEN pillow: version {version('pillow')} is installed, and >=999 is needed; "
        "pip install --upgrade 'pillow'": True,
        "packages      BROKEN surely-not-there: not installed; pip install --upgrade 'surely-not-there'": True,
        "packages      1 of 3 needed ones are installed": False,
        "  [app]           installed (for streetlab app, the page in the browser)": False,
        "  [video]         lacks surely-not-there-either: pip install 'streetlab[video]' "
        "(for videos in predict and app)": False,
    }


def test_every_extra_has_its_purpose():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras.keys() - {"dev"} <= doctor.PURPOSES.keys()


def test_the_limit_of_a_container_is_its_memory(tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    assert doctor.memory_bytes(limit) == 1_000_000
    limit.write_text("max\n")
    assert doctor.memory_bytes(limit) == doctor.memory_bytes(tmp_path / "none") > 10**8


@pytest.mark.slow
def test_the_step_is_a_real_training():
    assert [broken for _, broken in doctor.training_step()] == [False]

"""Workers of sweeps get a GPU each; the list of visible ones stands for the GPUs, which a test machine has not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streetlab.sweeps.devices import visible_devices

WORKER = (
    "import os, sys; from streetlab.sweeps.devices import take_device; "
    "print(take_device(), take_device(), os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("2,0", ["2", "0"]),
        (" 0 , GPU-8a1f,MIG-77", ["0", "GPU-8a1f", "MIG-77"]),
        ("1,-1,2", ["1"]),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_the_visible_devices_are_those_that_cuda_would_take(monkeypatch, listed, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_devices() == expected


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[str], tuple[str, subprocess.Popen[str]]]]:
    """`worker("3,5")` starts a process that takes a device of these; the device and the process."""
    started = []

    def start(visible: str) -> tuple[str, subprocess.Popen[str]]:
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(tmp_path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, **pipes)
        started.append(process)
        assert process.stdout is not None
        first, again, variable = process.stdout.readline().split()
        assert first == again == variable
        return first, process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_no_two_workers_share_a_device_while_another_is_free(worker):
    first, one = worker("3,5")
    second, two = worker("3,5")
    assert [first, second] == ["3", "5"]
    third, _ = worker("3,5")
    assert third == "3", "where none is free the first is shared"
    assert worker("3,5")[0] == "5"
    two.kill()
    two.communicate()
    assert worker("3,5")[0] == "5", "a worker that was killed must not keep its device"
    assert one.poll() is None


def test_another_sweep_on_the_machine_keeps_its_devices(worker):
    assert worker("0,1")[0] == "0"
    assert worker("0,1,2")[0] == "1"
    assert worker("1,2")[0] == "2"

"""What peers.py counts, and that a peer which is missing costs its own row alone."""

from __future__ import annotations

import argparse
import json
import sys

import pytest


@pytest.fixture
def options(tmp_path):
    return argparse.Namespace(rounds=2, packages=None, peer_python=None, output=tmp_path / "reports", scale=1.0)


def test_time_and_memory_are_those_of_the_process_and_its_children_alone(script, options):
    processes = script("side_by_side.processes")
    hog = "import os; bytearray(200 << 20) if os.fork() == 0 else os.wait()"
    spin = "import os, time; pid = os.fork(); all(iter(lambda: time.process_time() < 0.2, False)); pid and os.wait()"
    idle = processes.measure([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"], options)
    assert idle.seconds >= 0.2 > idle.cpu_seconds
    assert idle.peak < 50 * processes.MIB  # this process has imported torch
    assert processes.measure([sys.executable, "-S", "-c", hog], options).peak > 200 * processes.MIB
    assert processes.measure([sys.executable, "-S", "-c", spin], options).cpu_seconds >= 0.4


def test_what_is_not_installed_has_a_row_and_the_others_their_numbers(script, options):
    processes = script("side_by_side.processes")
    python = [sys.executable, "-S", "-c"]
    ways = {
        "ours": lambda round: processes.measure([*python, "print('{}')"], options, answers=True),
        "theirs": lambda round: processes.measure([*python, "import no_such_package"], options),
        "broken": lambda round: processes.measure([*python, "raise SystemExit('no more')"], options),
    }
    measured, missing = processes.take_turns(ways, options, "turns")
    assert [len(values) for values in measured.values()] == [2]
    assert missing["theirs"] == "not installed: no_such_package"
    assert missing["broken"].endswith("no more")
    rows = processes.table("", measured, missing, {}, "ours").rows
    assert [row[0] for row in rows] == ["ours", "theirs", "broken"]
    assert rows[1][1] == "not installed: no_such_package"
    journal = (options.output / "peers.jsonl").read_text().splitlines()
    assert [json.loads(line)["way"] for line in journal] == ["ours", "ours"]


def test_photos_that_pairs_link_are_one_group(script):
    components = script("side_by_side.audit").components
    assert components([("a", "b"), ("c", "d"), ("e", "b")]) == [("a", "b", "e"), ("c", "d")]
    assert components([]) == []


def test_every_question_has_its_function(script):
    peers = script("peers")
    for file, function, _ in peers.QUESTIONS.values():
        assert callable(getattr(script(f"side_by_side.{file}"), function))
    with pytest.raises(SystemExit):
        peers.main(["trianing"])


@pytest.mark.slow
def test_a_leaderboard_has_the_numbers_of_pandas_and_scipy(script, tmp_path):
    assert script("peers").main(["compare", "--quick", "--output", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "peers.json").read_text())["numbers"]["compare"]
    assert not numbers["missing"]
    ours, theirs = ([value["answer"] for value in values][-1] for values in numbers["measured"].values())
    assert ours["means"] == pytest.approx(theirs["means"], abs=1e-9)
    for mine, other in zip(ours["intervals"], theirs["intervals"], strict=True):
        assert mine == pytest.approx(other, abs=1e-9)

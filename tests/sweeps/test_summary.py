"""The summary of a sweep: every record of the folder in one table, whatever became of it."""

from __future__ import annotations

import csv
import json
import os
import socket
from pathlib import Path

import pytest

from streetlab.records.process_status import state_now, writer
from streetlab.records.record import RunRecord
from streetlab.sweeps.summary import in_words, summarize, write_summary

NOBODY = 2**22 + 1
"""A process id beyond Linux's largest."""


def record(folder: Path, name: str, words: list[str], **status: object) -> RunRecord:
    made = RunRecord(folder / name)
    made.write_config({"seed": 0}, words)
    made.write_status(**status)
    return made


def complete(folder: Path, name: str, words: list[str], score: float) -> None:
    made = record(folder, name, words, state="completed", started="2026-01-01T00:00:00+00:00")
    split = {"accuracy": score, "macro_f1": score - 0.1, "n": 10}
    objective = {"metric": "macro_f1", "mode": "max", "best": score + 0.05}
    made.write_metrics({"task": "classification", "objective": objective, "best_epoch": 3, "test": split, "val": split})
    made.write_model({"seconds_total": 90.0})


def test_every_record_is_a_row_with_what_sets_it_apart(tmp_path):
    complete(tmp_path, "b", ["seed=1", "experiment=x", "dataset.root='a b'"], 0.8)
    record(tmp_path, "a", ["seed=0", "experiment=x", "dataset.root='a b'"], state="failed", error="first\nsecond")
    rows = summarize(tmp_path)
    assert [row["run"] for row in rows] == ["a", "b"]  # by seed
    assert "experiment" not in rows[0]  # the same in all
    assert "dataset.root" not in rows[0]
    assert rows[0] == rows[0] | {"state": "failed", "seed": "0", "error": "first", "test_accuracy": None}
    assert rows[1] == rows[1] | {
        "state": "completed", "seed": "1", "val_macro_f1": pytest.approx(0.85), "test_accuracy": 0.8,
        "test_macro_f1": pytest.approx(0.7), "best_epoch": 3, "minutes": 1.5, "error": None,
    }  # fmt: skip


def test_rows_stand_in_the_order_of_their_values(tmp_path):
    for name, seed in (("a", "10"), ("b", "9"), ("c", "x")):
        record(tmp_path, name, [f"seed={seed}"], state="failed")
    assert [row["seed"] for row in summarize(tmp_path)] == ["9", "10", "x"]


def test_a_record_whose_process_is_gone_was_killed(tmp_path):
    here = {"state": "running", "host": socket.gethostname()}
    gone = record(tmp_path, "gone", [], process=NOBODY, **here)
    alive = record(tmp_path, "alive", [], process=os.getpid(), **here)
    elsewhere = record(tmp_path, "elsewhere", [], process=NOBODY, state="running", host="another")
    assert [state_now(found) for found in (gone, alive, elsewhere)] == ["killed", "running", "running"]
    assert [writer(found) for found in (gone, alive, elsewhere)] == [None, os.getpid(), None]


def test_damaged_records_are_rows_too(tmp_path):
    complete(tmp_path, "a", ["seed=0"], 0.8)
    complete(tmp_path, "b", ["seed=1"], 0.8)
    (tmp_path / "b" / "metrics.json").write_text("{")
    broken = record(tmp_path, "c", ["seed=2"], state="completed")
    (broken.path / "status.json").write_text("")
    rows = write_summary(tmp_path)
    assert [row["state"] for row in rows] == ["completed", "damaged", "damaged"]
    assert "metrics.json: damaged" in rows[1]["error"]
    assert "status.json: damaged" in rows[2]["error"]
    assert in_words(rows) == "3 runs: 1 completed, 2 damaged"


def test_the_four_files_hold_the_same_rows_and_names_are_no_markup(tmp_path):
    complete(tmp_path, "a", ["seed=0", "model.name=<b>|x"], 0.8)
    record(tmp_path, "b", ["seed=1"], state="failed", error="<script>alert(1)</script> | and more")
    rows = write_summary(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["jobs"] == rows
    with (tmp_path / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["run"] for row in table] == ["a", "b"]
    assert table[0]["test_accuracy"] == "0.8"
    page, text = (tmp_path / "summary.html").read_text(), (tmp_path / "summary.md").read_text()
    assert "<script>alert" not in page
    assert "<script>alert" not in text
    assert text.splitlines()[4].count("|") == text.splitlines()[6].replace("\\|", "").count("|")
    assert "http" not in page.replace("http-equiv", "")


def test_no_record_is_no_summary(tmp_path):
    assert write_summary(tmp_path) == []
    assert list(tmp_path.iterdir()) == []

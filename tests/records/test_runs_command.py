"""`streetlab runs`: every record with its state, and a command that does go on with it."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import pytest
from tests.support.short_runs import ONE_EPOCH
from tests.support.tiny_runs import TINY, write_photos

from streetlab import cli
from streetlab.config.command_line import with_first_key
from streetlab.records.overview import go_on, overview
from streetlab.records.record import find_runs


def test_every_state_has_its_line_and_its_next_step(make_record, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    done, stopped, killed, broken = (make_record(f"study/{name}") for name in ("done", "stopped", "killed", "broken"))
    stopped.write_end("interrupted", "the same command goes on")
    killed.write_status(state="running", host=socket.gethostname(), process=2**22 + 1, ended=None)
    (broken.path / "status.json").write_text("{")
    assert cli.run(["runs", "outputs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[1 : next(i for i, line in enumerate(lines) if line.startswith("4 runs: "))]
    states = {Path(line.split()[-1]).name: line.split()[0] for line in table}
    assert states == {"done": "completed", "stopped": "interrupted", "killed": "killed", "broken": "damaged"}
    (line,) = [line for line in lines if line.startswith("completed")]
    metrics = done.metrics
    scores = [f"{metrics['val']['macro_f1']:.3f}", f"{metrics['test']['macro_f1']:.3f}"]
    assert line.split()[1:5] == ["classification", "macro_f1", *scores]
    assert line.split()[5] == "60.0", "from start to end"
    commands = [line for line in lines if line.startswith("streetlab ")]
    assert "streetlab train seed=0 output=outputs/study/stopped" in commands
    assert "streetlab train seed=0 output=outputs/study/killed" in commands
    assert "streetlab predict run=outputs/study/done source=PHOTOS" in commands


def test_a_folder_that_is_not_there_is_one_line_with_the_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    assert cli.run(["runs", "output"]) == 2
    assert capsys.readouterr().err == "streetlab: runs: output is no folder; did you mean 'outputs'?\n"
    assert cli.run(["runs"]) == 0
    assert capsys.readouterr().out == "no run records in outputs; streetlab train makes one\n"


@pytest.mark.slow
def test_the_printed_command_goes_on_with_a_job_of_a_sweep(tmp_path, monkeypatch, capsys):
    photos = write_photos(tmp_path / "the photos", {"train": 4, "val": 2, "test": 2})
    monkeypatch.chdir(tmp_path)
    words = [*TINY, *ONE_EPOCH, f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    assert cli.run(["train", "-m", *words, "seed=3,4", "output=swept"]) == 0
    record = next(record for record in find_runs("swept") if "seed=4" in record.overrides)
    before = record.metrics
    record.write_end("interrupted")
    (record.checkpoints / "last.ckpt").unlink()  # a completed run's does not train on
    command = shlex.split(overview(record).go_on)
    assert command[:2] == ["streetlab", "train"]
    assert cli.run(command[1:]) == 0
    assert record.state == "completed"
    assert record.metrics == before
    assert not Path("outputs").exists(), "it went on in the record's own folder"


def test_a_run_of_another_folder_goes_on_from_there(make_record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = make_record("a run", overrides=["data='my data'", "model.weights='none'", "study=a"])
    record.write_status(state="failed", working_directory="/some where", import_path=["/mine"])
    place = shlex.quote(f"output={record.path}")
    words = f"--config-dir /mine 'data=my data' model.weights=none study=a seed=0 {place}"
    assert go_on(record) == f"cd '/some where' && streetlab train {words}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["outputs/a=b"], ["runs=outputs/a=b"]),
        (["~/runs", "open=false"], ["runs=~/runs", "open=false"]),
        (["runs=x"], ["runs=x"]),
        (["--cfg", "job"], ["--cfg", "job"]),
        (["~runs"], ["~runs"]),
        ([], []),
    ],
)
def test_the_first_word_may_stand_without_its_key(words, expected):
    assert with_first_key(words, "runs") == expected
    assert with_first_key(words, "") == words

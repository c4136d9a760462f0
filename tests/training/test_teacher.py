"""A run that learns from another: exact where it should be, and free of its teacher once it is trained."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import torch
from tests.support.killed_runs import assert_same_bits, run_killed
from tests.support.segmentation_data import CLASSES, write_mask_folder
from tests.support.segmentation_runs import SMALL, STREETS

from streetlab import cli
from streetlab.compare.grouping import group_by_seed, read_finished
from streetlab.records.record import RunRecord

TAUGHT = ("distillation.temperature=2", "distillation.weight=0.5", "distillation.features=0.5")
EMA = "callbacks.ema={_target_: streetlab.training.ema.EMA, decay: 0.9}"


@pytest.fixture
def teacher(trained, tmp_path):
    """`teacher(task)`: a finished run of that task, in a folder of the test's own."""
    return lambda task: shutil.copytree(trained[task], tmp_path / "teachers" / task)


@pytest.fixture
def complain(segment, capfd, tmp_path):
    """`complain("key=value", ...)`: runs on drawn streets, expects a fault, returns its one line."""

    def run(*words: str, data=STREETS, output="student") -> str:
        segment(*data, *words, output=output, code=2)
        captured = capfd.readouterr().err
        assert "Traceback" not in captured
        (message,) = [text for text in captured.splitlines() if text.startswith("streetlab: ")]
        return message

    return run


def digest(record) -> str:
    return hashlib.sha256((record / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()


def tensors(record, name="last"):
    return torch.load(record.checkpoints / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_a_teacher_of_no_weight_changes_no_bit(train, teacher):
    words = ("regime=single", "regime.epochs=2", "model.dropout=0.5")
    alone = train(*words, output="alone")
    watched = train(*words, f"teacher={teacher('classification')}", "distillation.weight=0", output="watched")
    one, other = tensors(alone), tensors(watched)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert watched.history() == [row | {"train/distillation_loss": 0} for row in alone.history()]


def test_a_taught_run_is_recorded_as_one_and_is_the_plain_network_without_its_teacher(train, teacher, tmp_path):
    folder = teacher("classification")
    before = digest(folder)
    taught, itself = train(f"teacher={folder}", *TAUGHT, EMA, "regime=single", "regime.epochs=2"), RunRecord(folder)
    assert digest(folder) == before
    assert taught.status["teacher"]["sha256"] == before
    assert taught.status["teacher"]["name"] == "classification"
    assert tensors(taught).keys() == tensors(itself).keys()
    assert taught.model["parameters"] == itself.model["parameters"]
    assert all(0 < row["train/distillation_loss"] < row["train/loss"] for row in taught.history())
    groups, repeated = group_by_seed([read_finished(record) for record in (itself, taught)])
    assert not repeated
    assert f"distillation=classification {before[:8]}" in {part for group in groups for part in group.parts}
    shutil.rmtree(folder)
    assert cli.run(["evaluate", f"run={taught.path}", f"output={tmp_path / 'again'}"]) == 0
    assert RunRecord(tmp_path / "again").metrics["test"]["confusion"] == taught.metrics["test"]["confusion"]


def test_a_killed_taught_run_resumes_to_the_same_bits(train, teacher, monkeypatch):
    words = ("model.dropout=0.5", "augment=strong", "regime=single", "regime.epochs=3", EMA)
    taught = (f"teacher={teacher('classification')}", *TAUGHT)
    whole = train(*words, *taught, output="whole")
    run_killed(train, monkeypatch, 3, 1, *words, *taught)
    assert_same_bits(whole, train(*words, *taught, output="killed"))


def test_a_segmenter_is_taught_where_its_classes_lie(segment, teacher):
    words = ("regime.epochs=1", "augment=strong", f"teacher={teacher('segmentation')}", "distillation.kind=channel")
    record = segment(*STREETS, *words)
    assert all(row["train/distillation_loss"] > 0 for row in record.history())


def test_a_teacher_of_other_classes_is_refused_with_both_named(complain, teacher, tmp_path):
    root = write_mask_folder(tmp_path / "own", {"train": 4, "val": 2, "test": 2})
    own = ("dataset=mask_folder", f"dataset.root={root}", CLASSES.replace("bicycle", "bike"))
    folder = teacher("segmentation")
    message = complain(f"teacher={folder}", data=own)
    assert message.startswith(f"streetlab: teacher: {folder} learned 19 classes of cityscapes")
    assert "mask_folder has 19 of" in message


def test_a_teacher_of_another_task_is_refused_with_both_named(complain, teacher):
    message = complain(f"teacher={teacher('classification')}")
    assert "classification learned one label per photo" in message
    assert "synthetic_streets has one class per pixel" in message


def test_a_teacher_that_is_no_finished_run_is_named_before_a_record_is_made(complain, teacher, tmp_path):
    folder = teacher("segmentation")
    near = complain(f"teacher={tmp_path / 'teachers' / 'segmentatio'}")
    assert near == f"streetlab: teacher: no folder {tmp_path}/teachers/segmentatio; did you mean '{folder}'?"
    itself = complain(f"teacher={folder}", output="teachers/segmentation")
    assert "can't teach itself" in itself
    RunRecord(folder).write_status(state="interrupted")
    assert "is not complete (interrupted)" in complain(f"teacher={folder}")
    RunRecord(folder).write_status(state="completed")
    (folder / "checkpoints" / "best.ckpt").unlink()
    assert "best epoch was moved or deleted" in complain(f"teacher={folder}")
    assert not (tmp_path / "student").exists()


def test_places_are_not_compared_where_photos_have_one_label(train, teacher, capfd):
    train(f"teacher={teacher('classification')}", "distillation.kind=channel", code=2)
    assert "distillation.kind: 'channel' compares places" in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_are_taught(teacher, tmp_path):
    words = (f"teacher={teacher('segmentation')}", "distillation.features=0.5", "trainer=ddp_cpu")
    line = [sys.executable, "-m", "streetlab", "train", *STREETS, *SMALL, *words, f"output={tmp_path / 'two'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(line, cwd=tmp_path, env=environment, check=True, timeout=300)
    record = RunRecord(tmp_path / "two")
    assert all(0 < row["train/distillation_loss"] < row["train/loss"] for row in record.history())
    assert record.status["teacher"]["name"] == "segmentation"

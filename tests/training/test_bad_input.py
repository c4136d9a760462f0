"""Every fault that a user can mend is one line on stderr, a non-zero exit and no half-written record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.support.tiny_runs import TINY, write_photos

from streetlab import cli
from streetlab.records.record import RunRecord

SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")


@pytest.fixture
def tree(tmp_path) -> Path:
    return write_photos(tmp_path / "photos", {"train": 4, "val": 2, "test": 2})


@pytest.fixture
def complain(tree, tmp_path, monkeypatch, capfd):
    """`complain("key=value", ...)`: runs, expects a fault, returns its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        line = ["train", *TINY, *SHORT, f"dataset.root={tree}", f"output={tmp_path / 'run'}", *words]
        assert cli.run(line) == 2
        captured = capfd.readouterr().err
        assert "Traceback" not in captured
        (message,) = [text for text in captured.splitlines() if text.startswith("streetlab: ")]
        return message

    return run


def test_missing_root(complain, tmp_path):
    assert "no folder" in complain(f"dataset.root={tmp_path / 'fotos'}")


def test_empty_class(complain, tree):
    for photo in (tree / "train" / "litter").iterdir():
        photo.unlink()
    assert "no photo of Litter among the " in complain()


def test_class_missing_in_one_split(complain, tree):
    shutil.rmtree(tree / "train" / "medium")
    message = complain()
    assert "dataset street_cleanliness: no photo of Medium among the 8 of train" in message


def test_truncated_photo_is_named(complain, tree):
    photo = tree / "train" / "clean" / "clean_1.png"
    photo.write_bytes(photo.read_bytes()[:200])
    message = complain()
    assert str(photo) in message
    assert "on_error=skip" in message


def test_truncated_photo_can_be_left_out(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = tree / "test" / "clean" / "clean_1.png"
    photo.write_bytes(photo.read_bytes()[:200])
    line = [
        "train",
        *TINY,
        *SHORT,
        f"dataset.root={tree}",
        f"output={tmp_path / 'run'}",
        "dataset.on_error=skip",
    ]
    assert cli.run(line) == 0
    record = RunRecord(tmp_path / "run")
    assert record.metrics["test"]["n"] == 5
    assert "clean_1.png" in (record.path / "train.log").read_text()


def test_text_named_jpg(complain, tree):
    (tree / "train" / "clean" / "notes.jpg").write_text("not a photo")
    assert "notes.jpg: not an image" in complain()


def test_unreadable_weights(complain, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"\x80garbage")
    assert "weights.pth" in complain(f"model.weights={tmp_path / 'weights.pth'}")


def test_weights_of_another_architecture(complain, tmp_path):
    from torchvision.models import mobilenet_v3_small

    torch.save(mobilenet_v3_small().state_dict(), tmp_path / "mobilenet.pth")
    message = complain(f"model.weights={tmp_path / 'mobilenet.pth'}")
    assert "mobilenet.pth" in message
    assert "another architecture" in message


def test_phase_that_names_no_parameter(complain):
    message = complain("regime.phases=[{name: tune, epochs: 1, train: [leyer4]}]")
    assert message.startswith("streetlab: regime.phases[0].train: no parameter of ResNet is called 'leyer4'")
    assert "layer4" in message.replace("leyer4", "")


def test_nan_loss_names_the_batch_and_fails_the_run(complain, tmp_path):
    message = complain("optimizer=sgd", "optimizer.lr=1e30")
    assert "epoch 1" in message
    assert "train/" in message, "the batch's files are not named"
    record = RunRecord(tmp_path / "run")
    assert record.state == "failed"
    assert "loss" in record.status["error"]


def test_read_only_output(complain, tmp_path):
    (tmp_path / "file").write_text("")
    assert "output" in complain(f"output={tmp_path / 'file' / 'run'}")


def test_no_checkpoint_to_resume_from(complain, tmp_path):
    assert "resume: no checkpoint" in complain(f"resume={tmp_path / 'nowhere.ckpt'}")


def test_max_epochs_of_the_trainer_points_to_the_regime(complain):
    assert "regime.max_epochs" in complain("trainer.max_epochs=3")


def test_gpu_where_there_is_none(complain, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in complain("trainer=gpu")


def test_unknown_precision(complain):
    assert "did you mean 'bf16-mixed'" in complain("trainer.precision=bf16-mixd")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (f"seed={2**32}", "seed: 4294967296 is not a whole number from 0 to 4294967295"),
        ("optimizer.lr=fast", "optimizer.lr: 'fast' is not a number"),
        (
            "optimizer.lr=-1",
            "optimizer: torch.optim.Adam does not take these values (ValueError: Invalid learning rate",
        ),
        (
            "trainer.accelerator=gpx",
            "trainer.accelerator: 'gpx' is not one of auto, cpu, gpu, cuda, mps",
        ),
    ],
)
def test_a_value_that_a_part_stumbles_over_is_one_line_before_any_photo_is_read(complain, tmp_path, word, line):
    assert line in complain(word)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_objective_that_is_not_measured(complain):
    assert "task.objective.metric" in complain("task.objective.metric=macro_f2")


def test_unknown_scheduler_of_a_phase(complain):
    message = complain("regime.phases=[{name: a, epochs: 1, train: [all], scheduler: cosin}]")
    assert "did you mean 'cosine'" in message


def test_a_loss_that_cannot_learn_from_mixed_labels(complain):
    message = complain("mix=mixup", "loss=dice_cross_entropy")
    assert "loss: WeightedSum does not take probabilities (B, 3) for labels, which mix and soft_labels need" in message

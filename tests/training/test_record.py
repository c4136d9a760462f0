"""The run record: complete, true to its predictions, never overwritten by another run."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from tests.support.tiny_runs import TINY

from streetlab.datasets.labels import CLEANLINESS, LabelSpace
from streetlab.io import files
from streetlab.records.record import RunRecord

SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")
PARTS = (
    "config.yaml", "overrides.yaml", "status.json", "metrics.csv", "metrics.json", "predictions.csv", "model.json",
    "checkpoints/best.ckpt", "checkpoints/last.ckpt", "figures/curves.png", "figures/confusion_matrix.png",
    "figures/most_wrong.png", "figures/reliability.png", "report.txt", "report.csv", "misclassified.csv", "train.log",
)  # fmt: skip


def test_every_part_of_the_record_is_there(train, drawn_figures):
    record = train(*SHORT)
    assert [part for part in PARTS if not (record.path / part).is_file()] == []
    assert record.state == "completed"
    assert {
        "started",
        "ended",
        "config_hash",
        "split_hash",
        "host",
        "git",
        "packages",
        "device",
    } <= record.status.keys()
    assert {
        "parameters",
        "checkpoint_bytes",
        "gmacs",
        "peak_memory_bytes",
        "seconds_per_epoch",
        "images_per_second",
    } <= (record.model.keys())


def test_metrics_agree_with_scikit_learn_on_the_predictions(train):
    record = train(*SHORT)
    with (record.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for split in ("val", "test"):
        chosen = [row for row in rows if row["split"] == split]
        truth, said = [row["label"] for row in chosen], [row["prediction"] for row in chosen]
        summary = record.metrics[split]
        assert summary["n"] == len(chosen) == 12
        assert summary["accuracy"] == pytest.approx(sk.accuracy_score(truth, said), abs=1e-6)
        assert summary["macro_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro"), abs=1e-6)
        probabilities = np.array([[float(row[f"p_{name}"]) for name in CLEANLINESS.names] for row in chosen])
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        labels = [CLEANLINESS.names.index(name) for name in truth]
        assert summary["loss"] == pytest.approx(sk.log_loss(labels, probabilities, labels=[0, 1, 2]), abs=1e-5)


def test_the_epoch_that_is_tested_is_the_best_by_val(train):
    record = train("regime=single", "regime.phases=[{name: train, epochs: 4, train: [all]}]", "optimizer.lr=0.05")
    scores = [row["val/macro_f1"] for row in record.history()]
    assert record.metrics["best_epoch"] == 1 + int(np.argmax(scores))
    assert record.metrics["val"]["macro_f1"] == pytest.approx(max(scores), abs=1e-6)


def test_a_checkpoint_alone_is_enough_to_predict(train):
    record = train(*SHORT)
    checkpoint = torch.load(record.checkpoints / "best.ckpt", weights_only=True)
    metadata = checkpoint["streetlab"]
    assert LabelSpace.from_dict(metadata["label_space"]) == CLEANLINESS
    assert metadata["image_size"] == [32, 32]
    assert metadata["normalization"]["mean"] == [0.485, 0.456, 0.406]
    assert metadata["config"]["model"]["name"] == "test_resnet"
    assert "optimizer_states" not in checkpoint


def test_the_same_command_skips_a_completed_run(train, capsys):
    record = train(*SHORT)
    before = (record.path / "status.json").read_text()
    train(*SHORT, "num_workers=0", "logger=csv")
    assert "already completed, skipped" in capsys.readouterr().out
    assert (record.path / "status.json").read_text() == before


@pytest.mark.slow
def test_the_same_command_strips_the_checkpoint_of_a_run_killed_as_it_was_completed(train, monkeypatch):
    words = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]", "optimizer.lr=0.05")
    monkeypatch.setattr("streetlab.training.session.retire", lambda folder: None)
    record = train(*words)
    last = record.checkpoints / "last.ckpt"
    whole = torch.load(last, weights_only=True)
    assert "optimizer_states" in whole
    train(*words)
    stripped = torch.load(last, weights_only=True)
    assert "optimizer_states" not in stripped
    assert stripped["epoch"] == whole["epoch"]
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(stripped["state_dict"][name], tensor), name
    before = last.read_bytes(), last.stat().st_ino
    train(*words)
    assert (last.read_bytes(), last.stat().st_ino) == before


def test_resume_never_takes_a_fresh_folder(train, tmp_path):
    first = train(*SHORT)
    stamp = (first.checkpoints / "best.ckpt").stat().st_mtime_ns
    train(*SHORT, "resume=never")
    assert (tmp_path / "run-2" / "metrics.json").is_file()
    assert (first.checkpoints / "best.ckpt").stat().st_mtime_ns == stamp


def test_another_configs_record_is_not_overwritten(train, capsys):
    record = train(*SHORT)
    before = {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()}
    train(*SHORT, "seed=1", code=2)
    assert "holds the record of another config" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()}


def test_a_folder_with_something_else_in_it_is_refused(train, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("my only copy")
    train(*SHORT, code=2)
    assert "is not empty and holds no run record" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_run_that_was_killed_before_its_config_was_written_is_begun_again(train, monkeypatch):
    def kill(self: RunRecord, config: object, overrides: object) -> None:
        files.write_text(self.path / "overrides.yaml", "[]\n")
        (self.path / ".config.yaml.1-2.tmp").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "write_config", kill)
        train(*SHORT, code=130)
    record = train(*SHORT)
    assert record.state == "completed"
    assert not list(record.path.glob(".*.tmp"))


@pytest.mark.slow
def test_four_records_of_a_sweep(photos, tmp_path, monkeypatch):
    from streetlab import cli
    from streetlab.records.record import find_runs

    monkeypatch.chdir(tmp_path)
    line = [
        "train", "-m", "experiment=cleanliness_pretrained,cleanliness_from_scratch", "dataset=street_cleanliness",
        f"dataset.root={photos}", "seed=1,2", "model=timm_classifier", "model.name=test_resnet", "model.weights=none",
        "debug=fast_dev_run", "trainer=cpu", "logger=none",
    ]  # fmt: skip
    assert cli.run(line) == 0
    records = find_runs(tmp_path / "outputs")
    assert [record.state for record in records] == ["completed"] * 4
    assert len({record.name for record in records}) == 4
    assert not any(set("/=,[] ") & set(record.name) for record in records)


def test_tensorboard_beside_the_record(train):
    pytest.importorskip("tensorboard")
    record = train(*SHORT, "logger=tensorboard")
    assert list(record.path.glob("tensorboard/**/events.*"))


def test_the_record_can_be_moved(train, tmp_path):
    record = train(*SHORT)
    shutil.move(record.path, tmp_path / "elsewhere")
    assert RunRecord(tmp_path / "elsewhere").fault() is None


@pytest.mark.slow
def test_two_processes_train_along_and_count_every_photo_once(photos, tmp_path):
    line = [sys.executable, "-m", "streetlab", "train", *TINY, f"dataset.root={photos}", "trainer=ddp_cpu"]
    words = [
        "trainer.precision=32-true",
        "regime=frozen_then_unfrozen",
        "regime.max_epochs=1",
        f"output={tmp_path / 'run'}",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*line, *words], cwd=tmp_path, env=environment, check=True, timeout=300)
    record = RunRecord(tmp_path / "run")
    assert record.state == "completed"
    predictions = record.predictions("test")
    assert len(set(predictions.ids)) == len(predictions.ids) == record.metrics["test"]["n"] == 12
    last = record.history()[-1]
    assert last["val/accuracy"] is not None

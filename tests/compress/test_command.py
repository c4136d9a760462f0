"""`streetlab compress`: a run becomes a smaller run that every other command takes, and the first is left as it was."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from streetlab import cli
from streetlab.checkpoints.load_network import rebuild_network
from streetlab.checkpoints.read import read_weights
from streetlab.compress.options import read_options
from streetlab.config.composition import config_folder
from streetlab.errors import UserError
from streetlab.records.record import RunRecord, find_runs
from streetlab.training.phases import PhaseSchedule


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streetlab.compress.measure._ROUNDS", 3)


def compress(run: RunRecord, *words: str, code: int = 0) -> RunRecord:
    """The new record, `small` beside the run unless the words name another."""
    small = run.path.with_name("small")
    named = [] if any(word.startswith("output=") for word in words) else [f"output={small}"]
    assert cli.run(["compress", f"run={run.path}", *words, *named]) == code
    return RunRecord(small)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check_report(run: RunRecord, small: RunRecord, metric: str) -> None:
    report = json.loads((small.path / "compression.json").read_text())
    assert report["compressed"]["run"] == str(run.path)
    assert report["before"]["parameters"] == run.model["parameters"]
    assert report["after"]["parameters"] == small.model["parameters"] < 0.4 * run.model["parameters"]
    assert report["after"]["gmacs"] < 0.4 * report["before"]["gmacs"]
    assert report["after"]["checkpoint_bytes"] == (small.checkpoints / "best.ckpt").stat().st_size
    for split in ("val", "test"):
        assert report["quality"]["before"][split][metric] == pytest.approx(run.metrics[split][metric])
        assert report["quality"]["tuned"][split][metric] == small.metrics[split][metric]
    n = small.metrics["test"]["n"]
    assert f"| test {metric} (n = {n}) |" in (small.path / "compression.md").read_text()


def test_a_compressed_run_is_a_run_like_any_other(
    classifier: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(classifier.path)
    small = compress(classifier, "epochs=1", "importance=taylor", "scope=global")
    assert contents(classifier.path) == before
    assert capsys.readouterr().out.strip().endswith(str(small.path))
    assert small.fault() is None
    assert [(phase["name"], phase["epochs"]) for phase in small.metrics["phases"]] == [("tune", 1)]
    check_report(classifier, small, "macro_f1")
    assert cli.run(["evaluate", f"run={small.path}", f"output={tmp_path / 'again'}"]) == 0
    again, told = RunRecord(tmp_path / "again").metrics["test"], small.metrics["test"]
    assert [again[name] for name in ("loss", "macro_f1")] == pytest.approx([told["loss"], told["macro_f1"]])


@pytest.mark.slow
def test_masks_are_compressed_and_compared_too(segmenter: RunRecord, tmp_path: Path) -> None:
    small = compress(segmenter, "epochs=1", "importance=bn_scale")
    check_report(segmenter, small, "miou")
    assert cli.run(["compare", f"runs=[{segmenter.path},{small.path}]", f"output={tmp_path / 'compared'}"]) == 0
    leaderboard = (tmp_path / "compared" / "leaderboard.md").read_text()
    assert "model=pruned" in leaderboard
    assert "channels" not in leaderboard


def test_without_training_a_run_holds_what_pruning_left(
    classifier: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["compress", f"run={classifier.path}", "epochs=0", "ratio=0.25", "batch_size=4"]
    assert cli.run(ask) == 0
    (small,) = (record for record in find_runs(classifier.path.parent) if record.path != classifier.path)
    assert small.name.startswith("photos-pruned-batch_size_4-epochs_0-ratio_0.25-")
    assert (small.state, small.config["batch_size"]) == ("completed", 4)
    assert small.metrics["phases"] == small.history() == []
    quality = json.loads((small.path / "compression.json").read_text())["quality"]
    for split, numbers in quality["pruned"].items():
        assert quality["tuned"][split] == pytest.approx(numbers)

    before = contents(small.path)
    capsys.readouterr()
    assert cli.run(ask) == 0
    assert "already completed, skipped" in capsys.readouterr().out
    compress(classifier, "epochs=0", f"output={small.path}", code=2)
    assert "holds a run compressed in another way; give another with output=DIR" in capsys.readouterr().err
    assert contents(small.path) == before

    alone = Path(shutil.move(small.checkpoints / "best.ckpt", tmp_path / "alone.ckpt"))
    shutil.rmtree(small.path)
    weights = read_weights(alone)
    assert weights.epoch == 0
    assert rebuild_network(weights, trusted=False)(torch.randn(1, 3, 40, 56)).shape == (1, 3)


@pytest.mark.slow
def test_a_killed_compress_goes_on_to_the_same_weights(
    classifier: RunRecord, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Killed(BaseException):
        pass

    def die(self, trainer, *_) -> None:
        if trainer.current_epoch == 1:
            raise Killed

    whole = compress(classifier, "epochs=3")
    whole.path.rename(whole.path.with_name("whole"))
    whole = RunRecord(whole.path.with_name("whole"))
    with monkeypatch.context() as patch:
        patch.setattr(PhaseSchedule, "on_train_epoch_start", die)
        with pytest.raises(Killed):
            compress(classifier, "epochs=3")
    capsys.readouterr()
    small = compress(classifier, "epochs=3")
    assert "testing" not in capsys.readouterr().out
    assert "resuming after epoch 1" in (small.path / "train.log").read_text()
    expected, got = (read_weights(record.checkpoints / "last.ckpt") for record in (whole, small))
    assert all(torch.equal(expected.tensors[key], got.tensors[key]) for key in expected.tensors)


@pytest.mark.slow
def test_the_unpruned_run_can_teach(classifier: RunRecord) -> None:
    small = compress(classifier, "epochs=1", "distil=true")
    assert small.config["teacher"] == str(classifier.path)
    assert "train/distillation_loss" in small.history()[0]


@pytest.mark.slow
def test_a_compressed_run_is_compressed_again(classifier: RunRecord) -> None:
    small = compress(classifier, "epochs=0")
    smaller = classifier.path.with_name("smaller")
    compress(small, "epochs=0", f"output={smaller}")
    model = RunRecord(smaller).config["model"]
    assert model["network"] == small.config["model"]["network"]
    assert RunRecord(smaller).model["parameters"] < 0.4 * small.model["parameters"]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("ratio", 1, "ratio: '1' is not a number above 0 and below 1"),
        ("ratio", "half", "ratio: 'half' is not a number"),
        ("importance", "taylr", "is not one of magnitude, taylor, bn_scale; did you mean 'taylor'?"),
        ("scope", "local", "scope: 'local' is not one of uniform, global"),
        ("round_to", 0, "round_to: '0' is not a whole number of 1 or more"),
        ("epochs", -1, "epochs: '-1' is not a whole number of 0 or more"),
        ("lr_scale", 0, "lr_scale: '0' is not a number above 0"),
        ("distil", "maybe", "distil: 'maybe' is not true or false"),
    ],
)
def test_a_value_that_its_key_does_not_take_is_one_line(key: str, value: Any, line: str) -> None:
    options = OmegaConf.load(config_folder() / "compress.yaml")
    options.merge_with({"run": "runs/any", key: value})
    with pytest.raises(UserError, match=re.escape(line)):
        read_options(options)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("regime.epochs=3", "regime.epochs: not for compress to change: it is trained on for `epochs`"),
        ("rato=0.3", "no key 'rato'; did you mean 'ratio'?"),
        ("trainer.devices=2", "trainer.devices=2: compress works in one process"),
    ],
)
def test_a_word_that_is_not_for_compress_is_one_line_and_leaves_nothing(
    word: str, line: str, classifier: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    small = compress(classifier, word, code=2)
    assert line in capsys.readouterr().err
    assert not small.path.exists()


def test_an_unfinished_run_is_refused(classifier: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    classifier.write_status(state="interrupted", error="Ctrl-C")
    small = compress(classifier, code=2)
    assert "is interrupted: Ctrl-C; only a completed run can be compressed" in capsys.readouterr().err
    assert not small.path.exists()


def test_what_lies_in_the_output_is_not_touched(classifier: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(classifier.path)
    compress(classifier, f"output={classifier.path}", code=2)
    assert "is not empty and holds no compressed run; give another with output=DIR" in capsys.readouterr().err
    assert contents(classifier.path) == before

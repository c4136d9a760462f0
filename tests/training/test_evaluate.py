"""`streetlab evaluate`: a run is tested again to the same numbers, on what else is asked, and never written to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from tests.support.segmentation_data import write_cityscapes
from tests.support.segmentation_runs import SMALL, STREETS
from tests.support.tiny_runs import TINY, write_photos

from streetlab import cli
from streetlab.checkpoints.read import find_checkpoint, read_weights
from streetlab.compare.select import select
from streetlab.errors import UserError
from streetlab.metrics.expected_precision import Prior, expected_precision
from streetlab.metrics.statistics.calibration import adaptive_ece, apply_temperature, fit_temperature
from streetlab.records.record import RunRecord, find_runs
from streetlab.training.evaluate import read_request

Evaluate = Callable[..., RunRecord]
SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")
BOTH = {"config.yaml", "overrides.yaml", "status.json", "metrics.json", "model.json", "report.txt", "report.csv"}
PARTS = {
    "classification": BOTH
    | {"predictions.csv", "misclassified.csv", "confusion_matrix.png", "most_wrong.png"}
    | {"reliability.png"},
    "segmentation": BOTH | {"confusions.npz", "confusion_matrix.png", "iou_per_class.png", "best_median_worst.png"},
}


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task, by its name; both read their data and cache by absolute paths."""
    folder = tmp_path_factory.mktemp("trained")
    lines = {
        "classification": [*TINY, *SHORT, f"dataset.root={photos}"],
        "segmentation": [*STREETS, *SMALL],
    }
    for task, words in lines.items():
        assert cli.run(["train", *words, f"dataset.cache_dir={folder / 'cache'}", f"output={folder / task}"]) == 0
    return {task: folder / task for task in lines}


def evaluate(run: RunRecord, *words: str) -> RunRecord:
    """Evaluate into the folder that the command chooses, and return what is there."""
    before = {record.path for record in answers(run)}
    assert cli.run(["evaluate", f"run={run.path}", *words]) == 0
    (new,) = [record for record in answers(run) if record.path not in before]
    return new


def question(run: RunRecord, *overrides: str) -> DictConfig:
    """The command's config."""
    own = {"run": str(run.path), "checkpoint": "best", "split": None, "prior": None, "output": None}
    return OmegaConf.create(own | {"overrides": [*overrides]})


def answers(run: RunRecord) -> list[RunRecord]:
    folder = run.path / "evaluate"
    return find_runs(folder) if folder.exists() else []


@pytest.fixture
def complain(classifier, capfd):
    """`complain("key=value", ...)`: evaluates, expects a fault, returns its one line."""

    def run(*words: str) -> str:
        given = words if any(word.startswith("run=") for word in words) else (f"run={classifier.path}", *words)
        assert cli.run(["evaluate", *given]) == 2
        captured = capfd.readouterr().err
        assert "Traceback" not in captured
        (message,) = captured.splitlines()
        return message

    return run


def contents(run: RunRecord) -> dict[str, bytes]:
    """Every file of the run's own."""
    files = [path for path in run.path.rglob("*") if path.is_file() and "evaluate" not in path.parts]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_without_words_the_numbers_are_the_runs_own(kind, request):
    run = request.getfixturevalue(kind)
    before = contents(run)
    answer = evaluate(run)
    assert {path.name for path in answer.path.rglob("*") if path.is_file()} == PARTS[run.metrics["task"]]
    for key in ("task", "objective", "best_epoch", "eval_split", "label_space", "val", "test"):
        assert answer.metrics[key] == run.metrics[key]
    for name in ("predictions.csv", "report.txt", "report.csv"):
        if name in before:
            assert (answer.path / name).read_bytes() == before[name]
    if kind == "segmenter":
        for split in ("val", "test"):
            assert np.array_equal(answer.confusions(split).matrices, run.confusions(split).matrices)
    assert contents(run) == before, "the run's own files are not the command's to touch"


def test_the_answer_tells_what_was_tested_and_how(classifier):
    answer = evaluate(classifier, "split=test", "checkpoint=last")
    status, asked = answer.status, answer.metrics["evaluated"]
    assert status["state"] == "completed"
    assert status["evaluated"] == asked
    assert asked["run"] == str(classifier.path)
    assert asked["splits"] == ["test"]
    assert asked["precision"] == status["evaluated"]["precision"] == "32-true"
    assert asked["sha256"] == hashlib.sha256((classifier.checkpoints / "last.ckpt").read_bytes()).hexdigest()
    assert asked["epoch"] == torch.load(classifier.checkpoints / "last.ckpt", weights_only=True)["epoch"] + 1 == 2
    for key in ("config_hash", "split_hash", "device", "choices"):
        assert status[key] == classifier.status[key]
    assert {"git", "packages", "host"} <= status.keys()
    assert answer.config == classifier.config
    assert "val" not in answer.metrics
    assert answer.name.startswith("checkpoint_last-split_test-")
    assert select([classifier.path / "evaluate"]).runs[0].test == answer.metrics["test"]


def test_the_training_split_is_tested_in_order_and_without_augmentation(classifier, photos, tmp_path):
    others = tmp_path / "others"
    for split in ("train", "val"):
        shutil.copytree(photos / "val", others / split)
    shutil.copytree(photos / "train", others / "test")
    as_test = evaluate(classifier, f"dataset.root={others}", "split=test").predictions("test")
    answer = evaluate(classifier, "split=train")
    found = answer.predictions("train")
    assert list(answer.metrics)[-1] == answer.metrics["eval_split"] == "train"
    assert [name.removeprefix("train") for name in found.ids] == [name.removeprefix("test") for name in as_test.ids]
    assert np.array_equal(found.probabilities, as_test.probabilities)


def test_the_same_question_replaces_its_answer_and_another_has_its_own(classifier):
    first = evaluate(classifier, "image_size=[48,48]")
    (first.path / "metrics.json").write_text("{}")
    assert cli.run(["evaluate", f"run={classifier.path}", "image_size=[48,48]"]) == 0
    assert [record.path for record in answers(classifier)] == [first.path]
    assert first.model["image_size"] == [48, 48]
    assert first.metrics["test"]["loss"] != classifier.metrics["test"]["loss"]
    cache = Path(classifier.config["dataset"]["cache_dir"]) / "street_cleanliness"
    assert {entry.name.partition("-48x48")[0] for entry in cache.glob("*-48x48-*")} == {"val", "test"}, (
        "photos that are not tested were decoded"
    )
    evaluate(classifier, "num_workers=0")
    assert len(answers(classifier)) == 2


def test_other_photos_of_the_same_classes(classifier, tmp_path):
    root = write_photos(tmp_path / "my photos, (2)", {"train": 1, "val": 2, "test": 3})
    answer = evaluate(classifier, "dataset=image_folder", f"dataset.root={root}", "dataset.labels=cleanliness")
    assert answer.metrics["test"]["n"] == 9
    assert answer.config["dataset"]["root"] == str(root)
    assert answer.status["choices"]["dataset"] == "image_folder"
    assert answer.status["split_hash"] != classifier.status["split_hash"]


@pytest.mark.parametrize(
    ("splits", "n", "absent"),
    [(("",), 9, None), (("test",), 9, None), (("",), 6, "litter"), (("train", "test"), 9, None)],
)
def test_all_photos_from_elsewhere_are_tested_where_no_folders_split_them(
    classifier, tmp_path, capfd, splits, n, absent
):
    root = write_photos(tmp_path / "new", dict.fromkeys(splits, 3))
    if absent:
        shutil.rmtree(root / absent)
    answer = evaluate(classifier, "dataset=image_folder", f"dataset.root={root}")
    found = answer.metrics["test"]
    assert found["n"] == n
    assert found.get("absent_classes") == (["Litter"] if absent else None)
    assert tuple(found["per_class"]) == ("Clean", "Medium", "Litter")
    assert ("no photo of Litter in this split" in (answer.path / "report.txt").read_text()) == bool(absent)
    everything = len(splits) == 1
    assert answer.metrics["evaluated"]["everything"] is everything
    assert ("val" in answer.metrics) is not everything
    assert (f"tested are all {n} images of image_folder" in capfd.readouterr().out) is everything


def test_the_runs_own_photos_in_another_place_keep_their_splits_and_split_all_joins_them(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos / "train", tmp_path / "a")
    words = [word for word in TINY if not word.startswith("dataset=")]
    line = [*words, "regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]", "dataset=image_folder"]
    assert cli.run(["train", *line, "dataset.root=a", "output=run", "trainer.limit_test_batches=1"]) == 0
    run = RunRecord(tmp_path / "run")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = evaluate(run, "dataset.root=b")
    assert moved.metrics["test"] == run.metrics["test"]
    joined = evaluate(run, "dataset.root=b", "split=all")
    assert joined.metrics["test"]["n"] == 27, "what was enough to debug the training is no limit here"


def test_other_masks_of_the_same_classes_where_the_truth_of_test_is_withheld(segmenter, tmp_path, capfd):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": 1, "val": 3, "test": 2})
    words = ("dataset=cityscapes", f"dataset.root={root}")
    answer = evaluate(segmenter, *words, "task.test_time.flip=true")
    assert answer.metrics["eval_split"] == "val"
    assert "test" not in answer.metrics
    assert answer.metrics["val"]["n"] == 3
    assert len(list((answer.path / "test_label_ids").iterdir())) == 2
    mirrored = evaluate(segmenter, *words, "split=val")
    assert mirrored.metrics["val"]["confusion"] != answer.metrics["val"]["confusion"]
    assert not (mirrored.path / "test_label_ids").exists()
    capfd.readouterr()
    assert cli.run(["evaluate", f"run={segmenter.path}", *words, "split=test"]) == 2
    assert "data set cityscapes has no labels for test; allowed: train, val" in capfd.readouterr().err


def test_the_weights_that_training_began_from_may_be_gone(classifier):
    config = classifier.config
    config["model"]["weights"] = "/gone/weights.pth"
    (classifier.path / "config.yaml").write_text(yaml.safe_dump(config))
    answer = evaluate(classifier)
    assert answer.metrics["test"] == classifier.metrics["test"]
    assert answer.config["model"]["weights"] == "/gone/weights.pth"


def test_what_auto_came_to_on_the_runs_machine_is_kept_with_another_trainer(classifier):
    config = classifier.config
    config["trainer"]["precision"] = "auto"
    (classifier.path / "config.yaml").write_text(yaml.safe_dump(config))
    classifier.write_status(precision="64-true")  # no machine's choice
    kept = read_request(question(classifier, "trainer=ddp_cpu"))
    assert (kept.precision, kept.config.trainer.precision, kept.config.trainer.devices) == ("64-true", "auto", 2)
    asked = read_request(question(classifier, "trainer=ddp_cpu", "trainer.precision=32-true"))
    assert (asked.precision, asked.config.trainer.precision) == (None, "32-true")


def test_the_runs_temperature_serves_where_val_is_not_tested(classifier, tmp_path):
    own = classifier.metrics["test"]
    val = classifier.predictions("val")
    assert own["temperature"] == pytest.approx(fit_temperature(val.probabilities, val.labels), rel=1e-6)
    assert own["temperature_from"] == "val"
    assert "temperature" not in classifier.metrics["val"]
    root = write_photos(tmp_path / "new", {"train": 1, "val": 1, "test": 3})
    alone = evaluate(
        classifier, "dataset=image_folder", f"dataset.root={root}", "dataset.labels=cleanliness", "split=test"
    )
    found, tested = alone.metrics["test"], alone.predictions("test")
    assert (found["temperature"], found["temperature_from"]) == (own["temperature"], "the run's val")
    expected = adaptive_ece(apply_temperature(tested.probabilities, own["temperature"]), tested.labels)
    assert found["ece_calibrated"] == pytest.approx(expected, abs=1e-6)
    for words in (["split=val"], ["split=test", "checkpoint=last"]):
        answer = evaluate(classifier, *words)
        assert "temperature" not in answer.metrics[answer.metrics["eval_split"]], "fitted to other photos or weights"


def test_a_prior_gives_the_precision_to_expect(classifier, capfd):
    answer = evaluate(classifier, "prior=0.05")
    assert answer.name.startswith("prior_")
    expected = expected_precision(classifier.predictions("test"), Prior("Litter", 0.05))
    assert answer.metrics["test"]["expected_precision"] == expected
    for text in (capfd.readouterr().out, (answer.path / "report.txt").read_text()):
        assert "precision at 5% Litter" in text
    assert "Clean ↔ Litter errors" in (answer.path / "report.txt").read_text()
    named = evaluate(classifier, "prior={Clean: 0.7}", "split=val")
    assert named.metrics["val"]["expected_precision"]["class"] == "Clean"


def test_a_prior_of_pixels_is_refused(segmenter, capfd):
    assert cli.run(["evaluate", f"run={segmenter.path}", "prior=0.05"]) == 2
    assert "prior: cityscapes has one class per pixel" in capfd.readouterr().err


def test_an_interrupted_run_is_tested_as_far_as_it_came(classifier, capfd):
    classifier.write_end("interrupted")
    answer = evaluate(classifier, "split=val")
    epoch = answer.metrics["best_epoch"]
    assert f"{classifier.path} is interrupted: tested is its epoch {epoch}" in capfd.readouterr().out
    assert answer.metrics["evaluated"]["state"] == "interrupted"


def test_a_failure_stands_in_the_answer_and_the_run_stays_complete(classifier, monkeypatch, capfd):
    def broken(*arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("streetlab.training.evaluate.evaluate_splits", broken)
    assert cli.run(["evaluate", f"run={classifier.path}"]) == 1
    assert "out of luck" in capfd.readouterr().err
    (answer,) = answers(classifier)
    assert answer.fault() == "failed: out of luck"
    assert classifier.fault() is None


def test_nothing_else_is_overwritten(complain, classifier, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("my only copy")
    assert "mine holds no evaluation" in complain(f"output={tmp_path / 'mine'}")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    before = contents(classifier)
    assert "photos holds no evaluation" in complain(f"output={classifier.path}")
    assert contents(classifier) == before
    answer = evaluate(classifier, "split=val")
    assert "holds another evaluation (split_val-" in complain("split=test", f"output={answer.path}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "split=tset",
            "split: 'tset' is not one of train, val, test, all, or null for val and test; did you mean 'test'?",
        ),
        ("prior=5", "prior: 5 is no share of Litter; give a number between 0 and 1, such as 0.05"),
        ("optimizer.lr=1", "optimizer.lr: has no part in an evaluation; what has: dataset, model, task"),
        ("model=resnet18", "does not fit the network"),
        ("dataset=synthetic_streets", "synthetic_streets has one class per pixel, the run learned one label per photo"),
        ("dataset=synthetic_items", "the run learned 3 (Clean, Medium, Litter); dataset.labels=cleanliness"),
        ("-m split=val,test", "-m: evaluate is about one run"),
        ("run=runs/phots", "run: no folder runs/phots; did you mean 'runs/photos'?"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_line(complain, classifier, words, said):
    assert said in complain(*words.split())
    assert not answers(classifier)


def test_the_run_must_be_named(classifier, capfd):
    assert cli.run(["evaluate"]) == 2
    assert capfd.readouterr().err == "streetlab: run is missing: give run=... on the command line\n"


@pytest.mark.parametrize("word", ["augment=strong", "seed=3", "model.weights=none", "data=elsewhere", "study=s"])
def test_a_word_without_effect_is_refused_since_its_result_would_be_filed_as_another(classifier, word):
    with pytest.raises(UserError, match=f"^{word.partition('=')[0]}: has no part in an evaluation"):
        read_request(question(classifier, word))


def test_checkpoints_that_cannot_be_tested(classifier, tmp_path):
    def fault() -> str:
        with pytest.raises(UserError) as caught:
            read_weights(find_checkpoint(classifier, "best"))
        return str(caught.value)

    best, kept = classifier.checkpoints / "best.ckpt", tmp_path / "kept.ckpt"
    best.rename(kept)
    assert fault().endswith("best.ckpt: checkpoint=last is there")
    (classifier.checkpoints / "last.ckpt").unlink()
    assert "no epoch of it was completed" in fault()
    torch.save({"weights": torch.zeros(1)}, best)
    assert "is no checkpoint of a run" in fault()
    best.write_bytes(kept.read_bytes()[:1000])
    assert "best.ckpt does not load" in fault()
    with pytest.raises(UserError, match=r"no file bets .* did you mean 'best'"):
        find_checkpoint(classifier, "bets")
    assert read_weights(find_checkpoint(classifier, str(kept))).label_space.names == ("Clean", "Medium", "Litter")


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path):
    photos = write_photos(tmp_path / "photos", {"train": 6, "val": 3, "test": 3})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def streetlab(*words: str) -> None:
        line = [sys.executable, "-m", "streetlab", *words]
        subprocess.run(line, cwd=tmp_path, env=environment, check=True, timeout=300)

    streetlab("train", *TINY, *SHORT, f"dataset.root={photos}", "output=run")
    found = {}
    for name, words in {"one": [], "two": ["trainer=ddp_cpu"]}.items():
        streetlab("evaluate", "run=run", f"output={name}", *words)
        found[name] = RunRecord(tmp_path / name)
    one, two = (found[name].metrics for name in ("one", "two"))
    for split in ("val", "test"):
        for key in ("accuracy", "macro_f1", "confusion", "n"):
            assert one[split][key] == two[split][key]
        assert one[split]["loss"] == pytest.approx(two[split]["loss"], abs=1e-6)
        predicted = [found[name].predictions(split) for name in ("one", "two")]
        assert predicted[0].ids == predicted[1].ids
        assert np.allclose(predicted[0].probabilities, predicted[1].probabilities, atol=1e-6)
    assert two["evaluated"]["precision"] == "32-true"
    assert found["two"].config["trainer"]["devices"] == 2
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "completed"

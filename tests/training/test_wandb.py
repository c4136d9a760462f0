"""What Weights & Biases gets to see: read back from offline runs, beside the records that they are copies of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pytorch_lightning.loggers.logger import DummyLogger
from tests.support.killed_runs import run_killed
from tests.support.tiny_runs import CLASSES, TINY
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from streetlab import cli
from streetlab.config.composition import composer
from streetlab.records.record import RunRecord, find_runs
from streetlab.training import wandb_logger
from streetlab.training.loggers import RecordLogger
from streetlab.training.wandb_results import fixed_choice

WANDB = ("logger=[csv,tensorboard,wandb]", "logger.wandb.mode=offline")
SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")
ROOT = Path(__file__).parents[2]


class Read:
    """An offline run, as W&B's own tool reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = list(map(json.loads, self._inspect().splitlines()))

    @cached_property
    def overview(self) -> dict[str, Any]:
        """State, config and the like, and the run's own `summary`."""
        return json.loads(self._inspect("--summary"))

    @property
    def summary(self) -> dict[str, Any]:
        return self.overview["summary"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    def start(self) -> dict[str, Any]:
        return self.of("run")[0]

    def exit_codes(self) -> list[int]:
        return [entry.get("exit_code", 0) for entry in self.of("exit")]

    def artifacts(self) -> list[dict[str, Any]]:
        return [entry for entry in self.of("artifact") if entry["type"] == "model"]

    def rows(self) -> list[dict[str, Any]]:
        """The logged numbers by epoch, in the columns of metrics.csv."""
        merged: dict[int, dict[str, Any]] = {}
        for entry in self.of("history"):
            item = {key: value for key, value in entry["item"].items() if not key.startswith("_")}
            if "epoch" in item:
                item["step"] = item.pop("trainer/global_step")
                assert merged.setdefault(item["epoch"], item)["step"] == item["step"]
                merged[item["epoch"]] |= item
        return list(merged.values())

    def _inspect(self, *options: str) -> str:
        line = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(self.folder)]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout


def read(record: RunRecord) -> list[Read]:
    """The W&B runs in a record, oldest first."""
    folders = (record.path / "wandb").glob("offline-run-*")
    return [Read(folder) for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)]


@dataclass(frozen=True)
class Sweep:
    here: Path
    good: RunRecord
    bad: RunRecord
    finished: Read
    failed: Read


@pytest.fixture(scope="module")
def sweep(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two jobs in one process, the second of which fails; with the folder that was home and current folder."""
    here = tmp_path_factory.mktemp("wandb-sweep")
    line = [
        "train", "-m", *TINY, *SHORT, *WANDB, f"dataset.root={photos}", f"dataset.cache_dir={here / 'cache'}",
        f"output={here / 'outputs' / 'rates'}", "optimizer.lr=0.01,1e30", "logger.wandb.photos=3",
        "logger.wandb.tags=[pilot]",
    ]  # fmt: skip
    line.remove("logger=none")
    line.remove("optimizer.lr=0.01")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("HOME", str(here))
        patch.delenv("WANDB_API_KEY", raising=False)
        patch.setenv("WANDB_DATA_DIR", "as before")
        environment = dict(os.environ)
        assert cli.run(line) == 1
        assert {k: v for k, v in os.environ.items() if "WANDB" in k} == {
            k: v for k, v in environment.items() if "WANDB" in k
        }
    good, bad = sorted(find_runs(here / "outputs"), key=lambda record: record.state)
    (finished,), (failed,) = read(good), read(bad)
    return Sweep(here, good, bad, finished, failed)


@pytest.mark.slow
def test_two_jobs_of_one_process_are_two_runs_finished_and_failed(sweep):
    finished, failed = sweep.finished, sweep.failed
    assert (finished.overview["state"], finished.exit_codes()) == ("finished", [0])
    assert (failed.overview["state"], failed.exit_codes()) == ("failed", [1])
    assert "loss is nan" in failed.summary["error"]
    ids = [run.start()["run_id"] for run in (finished, failed)]
    assert ids == [record.status["wandb_id"] for record in (sweep.good, sweep.bad)]
    assert ids[0] != ids[1]


def test_a_run_says_what_was_asked(sweep):
    good, run = sweep.good, sweep.finished
    start = run.start()
    assert (start["run_group"], start["job_type"]) == ("rates", "classification")
    assert start["display_name"] == "optimizer.lr=0.01"
    assert start["tags"] == ["classification", "street_cleanliness", "timm_classifier", "pilot"]
    assert start["git"]["commit"] == good.status["git"]["commit"]
    config = dict(run.overview["config"])
    extra = config.pop("record")
    config.pop("_wandb", None)
    assert config == good.config
    assert (extra["config_hash"], extra["split_hash"]) == (good.status["config_hash"], good.status["split_hash"])
    assert Path(extra["path"]) == good.path


def test_its_metrics_are_those_of_metrics_csv(sweep):
    good, run = sweep.good, sweep.finished
    assert run.rows() == good.history()
    assert [row["epoch"] for row in run.rows()] == [1, 2]
    summary, rows = run.summary, good.history()
    assert summary["val/macro_f1"] == {"max": max(row["val/macro_f1"] for row in rows)}
    assert summary["val/loss"] == {"min": min(row["val/loss"] for row in rows)}
    steps = {entry["name"]: entry.get("step_metric") for entry in run.of("metric") if "name" in entry}
    assert steps["val/macro_f1"] == "trainer/global_step"


def test_its_summary_has_the_best_epoch_and_the_costs(sweep):
    good, run = sweep.good, sweep.finished
    summary, metrics, model = run.summary, good.metrics, good.model
    assert summary["best_epoch"] == metrics["best_epoch"]
    for name in ("macro_f1", "accuracy", "loss", "n"):
        assert summary[f"best/{name}"] == pytest.approx(metrics["val"][name])
        assert summary[f"test/{name}"] == pytest.approx(metrics["test"][name])
    for name in ("parameters", "gmacs", "images_per_second", "peak_memory_bytes"):
        assert summary[f"model/{name}"] == pytest.approx(model[name])
    assert summary["model/minutes"] == pytest.approx(model["seconds_total"] / 60)


def test_tables_figures_and_photos_with_grad_cam_are_there(sweep):
    good, run = sweep.good, sweep.finished
    summary, media = run.summary, run.folder / "files"
    table = json.loads((media / summary["test/per_class"]["path"]).read_text())
    scores = good.metrics["test"]["per_class"]
    assert [row[0] for row in table["data"]] == list(scores)
    f1 = table["columns"].index("f1")
    assert [row[f1] for row in table["data"]] == pytest.approx([score["f1"] for score in scores.values()])

    cells = json.loads((media / summary["test/confusion_matrix_table"]["path"]).read_text())["data"]
    assert [cell[2] for cell in cells] == np.ravel(good.metrics["test"]["confusion"]).tolist()
    names = list(scores)
    assert cells[1][:2] == names[:2]

    for figure in good.figures.glob("*.png"):
        assert summary[f"figures/{figure.stem}"]["_type"] == "image-file"

    photos, predictions = summary["photos"], good.predictions("val")
    chosen = fixed_choice(predictions.ids, 3)
    assert [caption.partition(": ")[0] for caption in photos["captions"]] == chosen
    first = predictions.ids.index(chosen[0])
    assert f"truth {predictions.names[predictions.labels[first]]}, " in photos["captions"][0]
    pictures = [np.asarray(Image.open(media / name)) for name in photos["filenames"]]
    assert all(picture.shape == (32, 64, 3) for picture in pictures)
    assert any((picture[:, :32] != picture[:, 32:]).any() for picture in pictures), "no heat in any overlay"


def test_the_best_checkpoint_is_an_artifact_and_is_not_copied(sweep):
    good, run = sweep.good, sweep.finished
    (artifact,) = run.artifacts()
    assert artifact["name"] == good.name
    assert "best" in artifact["aliases"]
    metadata = json.loads(artifact["metadata"])
    assert metadata["config_hash"] == good.status["config_hash"]
    assert (metadata["metric"], metadata["best_epoch"]) == ("val/macro_f1", good.metrics["best_epoch"])
    (entry,) = artifact["manifest"]["contents"]
    best = good.checkpoints / "best.ckpt"
    assert (Path(entry["local_path"]), int(entry["size"])) == (best, best.stat().st_size)
    assert not [path for path in (good.path / "wandb").rglob("*") if path.stat().st_size >= best.stat().st_size]
    assert sweep.failed.of("artifact") == []


def test_nothing_is_written_outside_the_records(sweep):
    here, good, bad = sweep.here, sweep.good, sweep.bad
    inside = (good.path / "wandb", bad.path / "wandb")
    stray = [path for path in here.rglob("*wandb*") if not any(path.is_relative_to(folder) for folder in inside)]
    assert stray == []
    assert not (here / "artifacts").exists()
    assert not (here / ".local").exists()
    assert list(good.path.glob("tensorboard/events.*"))


def test_masks_of_prediction_and_truth_lie_over_fixed_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = [
        "train", "dataset=synthetic_streets", "dataset.train=4", "dataset.val=3", "dataset.test=2", "model=smp",
        "model.decoder=fpn", "model.encoder=resnet18", "image_size=[64,64]", "batch_size=2", "regime=single",
        "regime.epochs=1", "trainer=cpu", "trainer.precision=32-true", *WANDB, "logger.wandb.photos=2",
        f"dataset.cache_dir={tmp_path / 'cache'}", f"output={tmp_path / 'run'}",
    ]  # fmt: skip
    assert cli.run(line) == 0
    record = RunRecord(tmp_path / "run")
    (run,) = read(record)
    assert run.summary["test/miou"] == pytest.approx(record.metrics["test"]["miou"])
    assert "run_group" not in run.start()
    assert run.start()["display_name"] == "run"
    photos, media = run.summary["photos"], run.folder / "files"
    confusions = record.confusions("val")
    chosen = fixed_choice(confusions.ids, 2)
    assert [caption.partition(":")[0] for caption in photos["captions"]] == chosen
    for name, masks in zip(chosen, photos["all_masks"], strict=True):
        truth, said = (
            np.asarray(Image.open(media / masks[key]["path"])).astype(np.int64) for key in ("truth", "prediction")
        )
        counted = np.zeros((19, 19), np.int64)
        valid = truth != 255
        np.add.at(counted, (truth[valid], said[valid]), 1)
        assert np.array_equal(counted, confusions.matrices[list(confusions.ids).index(name)])
    labels = [text for text in map(json.dumps, run.of("config")) if "mask/class_labels" in text]
    assert '"255": "ignored"' in labels[-1]
    assert '"0": "road"' in labels[-1]


def test_a_resumed_run_goes_on_under_its_id_with_every_epoch_once(train, monkeypatch):
    words = ("regime=single", "regime.epochs=3", *WANDB, "logger.wandb.photos=0", "logger.wandb.log_model=false")
    run_killed(train, monkeypatch, 3, 1, *words)
    record = train(*words, output="killed")
    killed, resumed = read(record)
    assert killed.start()["run_id"] == resumed.start()["run_id"] == record.status["wandb_id"]
    assert [row["epoch"] for row in killed.rows()] == [1, 2]
    assert resumed.rows() == record.history()
    assert len(resumed.rows()) == 3
    assert (killed.exit_codes(), resumed.exit_codes()) == ([1], [0])
    assert resumed.artifacts() == []
    assert not any("photos" in key for entry in resumed.of("history") for key in entry["item"])


def test_a_server_that_does_not_answer_stops_no_training(train, monkeypatch, capsys):
    monkeypatch.setattr(wandb_logger, "_CONNECT_SECONDS", 2.0)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_RUN_ID", "of-an-agent")
    record = train("regime=single", "regime.epochs=1", "logger=wandb", "logger.wandb.photos=0")
    (run,) = read(record)
    assert (run.start()["run_id"], run.exit_codes()) == ("of-an-agent", [0])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "wandb sync" in line]
    assert str(run.folder) in line
    assert "connection refused" in line


def test_a_run_that_fails_before_it_trains_is_closed_as_failed(train):
    record = train("regime=single", *WANDB, "+trainer.profiler=nonsense", code=2)
    (run,) = read(record)
    assert run.exit_codes() == [1]
    import wandb

    assert wandb.run is None, "the next job would log into this run"


def test_disabled_trains_without_a_trace(train):
    record = train("regime=single", "regime.epochs=1", "logger=wandb", "logger.wandb.mode=disabled")
    assert record.state == "completed"
    assert read(record) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logger.wandb.mode=ofline"], "logger.wandb.mode: 'ofline' is not one of online, offline, disabled; did you"),
        (["logger.wandb.mode=online"], "logger.wandb.mode: online, but there is no key"),
        (["logger.wandb.photos=-1"], "logger.wandb.photos: -1 is below 0"),
        (["logger.wandb.tags=pilot"], "logger.wandb.tags: 'pilot' is no list; write [pilot]"),
        (["logger.wandb.project=a/b", "logger.wandb.mode=offline"], "logger.wandb: "),
    ],
)
def test_bad_words_are_one_line(train, monkeypatch, tmp_path, capsys, words, said):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    train("logger=wandb", *words, code=2)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"streetlab: {said}")


def test_only_the_first_process_starts_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_logger, "is_first", lambda: False)
    record = RunRecord(tmp_path)
    made = wandb_logger.wandb_logger(RecordLogger(record, lambda: "train"))
    assert isinstance(made, DummyLogger)
    assert list(tmp_path.iterdir()) == []


def test_the_photos_shown_are_the_same_whatever_the_order():
    ids = [f"val/{name}_{number}.png" for name in CLASSES for number in range(9)]
    chosen = fixed_choice(ids, 8)
    assert len(chosen) == 8
    assert fixed_choice(reversed(ids), 8) == chosen
    assert len({name.split("/")[1].split("_")[0] for name in chosen}) > 1


def test_the_sweep_file_drives_the_command():
    sweep = yaml.safe_load((ROOT / "experiments" / "wandb" / "sweep.yaml").read_text())
    head, tail = sweep["command"][:2], sweep["command"][2:]
    assert head == ["streetlab", "train"]
    assert tail.pop() == "${args_no_hyphens}"
    assert (sweep["metric"]["name"], sweep["metric"]["goal"]) == ("best/macro_f1", "maximize")
    tried = {
        name: parameter.get("values") or [parameter[key] for key in ("value", "min", "max") if key in parameter]
        for name, parameter in sweep["parameters"].items()
    }
    with composer() as compose:
        for number in range(max(map(len, tried.values()))):
            given = {name: {"value": values[number % len(values)]} for name, values in tried.items()}
            config = compose.compose("train", [*tail, *create_sweep_command_args({"args": given})["args_no_hyphens"]])
            assert config.optimizer.lr == given["optimizer.lr"]["value"]
            assert config.logger.wandb.project == "streetlab"

"""Parts of the user's own, given with `--config-dir`: no package to install, no PYTHONPATH, no attribute to declare."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.errors import UserError
from streetlab.inference.predictor import Predictor
from streetlab.records.record import RunRecord

MODULE = """
import pytorch_lightning as pl
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, num_classes, width=4, classes_too=0):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(width, 8, 3))
        self.classifier = nn.Linear(8, num_classes)
    def forward(self, images):
        return self.classifier(self.features(images).mean((2, 3)))

class OtherName(nn.Module):
    def __init__(self, n_classes=3):
        super().__init__()

class Loss(nn.CrossEntropyLoss):
    pass

class Counts(pl.Callback):
    def on_train_end(self, trainer, pl_module):
        print("the callback ran")
"""
MADE = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [head]}]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "own_street_parts.py").write_text(MODULE)
    for name, text in {
        "model/own": "_target_: own_street_parts.Network\n_partial_: true\nwidth: 6",
        "model/eager": "_target_: own_street_parts.Network",
        "model/other_name": "_target_: own_street_parts.OtherName\n_partial_: true",
        "loss/own": "_target_: own_street_parts.Loss",
        "loss/late": "_target_: own_street_parts.Loss\n_partial_: true",
        "optimizer/eager": "_target_: torch.optim.SGD\nlr: 0.1\nparams: []",
        "scheduler/eager": "_target_: streetlab.training.schedules.none\noptimizer: 1\nhorizon: 1",
        "callbacks/own": "counts:\n  _target_: own_street_parts.Counts",
        "logger/lightnings": "csv:\n  _target_: pytorch_lightning.loggers.CSVLogger\n  save_dir: logs",
    }.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    yield folder
    sys.modules.pop("own_street_parts", None)


@pytest.fixture(scope="module")
def own_run(folder: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of an own network, loss, callback and a logger of Lightning's."""
    output = tmp_path_factory.mktemp("own") / "run"
    words = [word for word in TINY if not word.startswith(("model", "logger"))]
    parts = ["model=own", "loss=own", "callbacks=own", "logger=lightnings", f"logger.csv.save_dir={output.parent}"]
    where = [f"dataset.root={photos}", f"dataset.cache_dir={output.parent / 'cache'}", f"output={output}"]
    assert cli.run(["train", "--config-dir", str(folder), *words, *parts, *MADE, *where]) == 0
    return output


def forget(folder: Path) -> None:
    """As in another process: the module is not loaded, and its folder is no place to look in."""
    sys.modules.pop("own_street_parts", None)
    assert str(folder) not in sys.path


def test_a_plain_network_trains_and_its_head_is_said(own_run, folder):
    assert "its head is classifier, the rest its backbone" in (own_run / "train.log").read_text()
    assert RunRecord(own_run).status["import_path"] == [str(folder)]
    weights = torch.load(own_run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert weights["network.features.0.weight"].shape[0] == 6
    assert list(own_run.parent.rglob("lightning_logs/*/metrics.csv"))


def test_the_record_is_read_without_the_option(own_run, folder, tmp_path):
    forget(folder)
    run = shutil.copytree(own_run, tmp_path / "moved")
    assert cli.run(["evaluate", f"run={run}", f"output={tmp_path / 'again'}"]) == 0
    again = RunRecord(tmp_path / "again").metrics
    assert again["test"]["confusion"] == RunRecord(own_run).metrics["test"]["confusion"]


def test_maps_say_which_layer_was_taken(own_run, folder, tmp_path, capsys):
    forget(folder)
    assert cli.run(["explain", f"run={own_run}", f"output={tmp_path / 'maps'}"]) == 0
    assert "maps are of its last convolution, features.2; layer= names another" in capsys.readouterr().out


def test_a_predictor_finds_the_network_of_a_run_but_never_of_a_file(own_run, folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("streetlab.config.import_path._added", [])
    forget(folder)
    with pytest.raises(UserError, match=r"no run's own and its model._target_ is 'own_street_parts.Network'"):
        Predictor.from_checkpoint(own_run / "checkpoints" / "best.ckpt", device="cpu")
    assert "own_street_parts" not in sys.modules
    predictor = Predictor.from_run(own_run, device="cpu")
    assert predictor.network.task == "classification"
    from PIL import Image

    (answer,) = predictor.predict([Image.fromarray(np.zeros((40, 40, 3), np.uint8))])
    assert answer.probabilities.shape == (3,)


def test_a_module_that_is_gone_is_one_line_and_the_option_finds_it_again(own_run, folder, tmp_path, capsys):
    forget(folder)
    run = shutil.copytree(own_run, tmp_path / "elsewhere")
    status = json.loads((run / "status.json").read_text()) | {"import_path": [str(tmp_path / "gone")]}
    (run / "status.json").write_text(json.dumps(status))
    words = ["evaluate", f"run={run}", f"output={tmp_path / 'out'}"]
    assert cli.run(words) == 2
    (line,) = (row for row in capsys.readouterr().err.splitlines() if row.startswith("streetlab:"))
    assert "cannot import own_street_parts.Network" in line
    assert "--config-dir=DIR names the folder that a module of your own lies in" in line
    assert cli.run([*words, "--config-dir", str(folder)]) == 0
    forget(folder)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("model=eager", "model: `_partial_: true` is missing in model/eager.yaml"),
        ("optimizer=eager", "optimizer: `_partial_: true` is missing in optimizer/eager.yaml"),
        ("scheduler=eager", "scheduler: `_partial_: true` is missing in scheduler/eager.yaml"),
        ("loss=late", "loss: `_partial_: true` in loss/late.yaml has no place"),
        ("model=other_name", "model: own_street_parts.OtherName takes no 'num_classes', which the program gives it"),
    ],
)
def test_a_node_that_is_made_too_early_or_too_late_is_named(folder, tmp_path, capsys, word, line):
    assert cli.run(["train", "--config-dir", str(folder), word, f"output={tmp_path / 'run'}"]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()

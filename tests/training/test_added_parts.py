"""Parts of torch, torchvision and torchmetrics, and of the user's own, through whole runs, with oracles."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.support.killed_runs import assert_same_bits, run_killed
from torch.nn import functional as F

from streetlab import cli
from streetlab.records.record import RunRecord

MODULE = """
from pathlib import Path

import torch
from PIL import Image
from torchmetrics import Metric
from torchvision.transforms import v2

from streetlab.datasets.labels import CLEANLINESS
from streetlab.datasets.source import DataSource, Sample

class Rain(v2.Transform):
    def __init__(self, drops=0.1):
        super().__init__()
        self.drops = drops
    def transform(self, inpt, params):
        return inpt if inpt.shape[0] != 3 else torch.where(torch.rand(inpt.shape[1:]) < self.drops, 1.0, inpt)

class Confidence(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
    def update(self, probabilities, labels):
        self.total = self.total + probabilities.amax(1).sum()
        self.count = self.count + labels.numel()
    def compute(self):
        return self.total / self.count

class Parity(DataSource):
    '''Grey squares, dark, medium and bright.'''
    label_space = CLEANLINESS
    def __init__(self, cache_dir, each=3):
        super().__init__("parity", cache_dir)
        self.each = each
    def samples(self, split):
        pairs = [(label, i) for label in range(3) for i in range(self.each)]
        return [Sample(f"{split}/{label}-{i}", label, f"{split}{label}{i}") for label, i in pairs]
    def read(self, sample, min_side=None):
        return Image.new("RGB", (40, 40), (80 * sample.label,) * 3)
    def fingerprint(self, sample):
        return sample.id
"""

FILES = {
    "transforms/rain": "rain:\n  _target_: stock_street_parts.Rain\n  drops: 0.2",
    "transforms/turn": "turn:\n  _target_: torchvision.transforms.v2.RandomRotation\n  degrees: [20, 40]\n  fill: 0.5",
    "transforms/blur": "blur:\n  _target_: torchvision.transforms.v2.GaussianBlur\n  kernel_size: 5",
    "transforms/small": "small:\n  _target_: torchvision.transforms.v2.RandomCrop\n  size: [16, 16]",
    "metrics/auroc": "auroc:\n  _target_: torchmetrics.classification.MulticlassAUROC",
    "metrics/confidence": "confidence:\n  _target_: stock_street_parts.Confidence",
    "metrics/micro": "micro:\n  _target_: torchmetrics.classification.MulticlassAccuracy\n  average: micro",
    "loss/torch": "_target_: torch.nn.CrossEntropyLoss\nlabel_smoothing: 0.1\n"
    "weight:\n  _target_: torch.tensor\n  data: [1.0, 2.0, 3.0]",
    "loss/pixels": "_target_: torch.nn.CrossEntropyLoss",
    "dataset/parity": "_target_: stock_street_parts.Parity\ncache_dir: outputs/.cache\n",
}
ONE_EPOCH = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]", "optimizer.lr=1e-5")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The words that name a folder of the user's with YAML files and a module."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "stock_street_parts.py").write_text(MODULE)
    for name, text in FILES.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    yield "--config-dir", str(folder)
    sys.modules.pop("stock_street_parts", None)


def predictions(record: RunRecord) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities (N, K) of test."""
    found = record.predictions("test")
    return found.labels, found.probabilities


def columns(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_metrics_stand_in_every_table_and_are_right(mine, train, tmp_path, capsys):
    record = train(*mine, *ONE_EPOCH, "metrics=[auroc,confidence]", "task.objective={metric: auroc, mode: max}")
    labels, probabilities = predictions(record)
    auroc = roc_auc_score(labels, probabilities, multi_class="ovr")
    test = record.metrics["test"]
    assert test["auroc"] == pytest.approx(auroc, abs=1e-5)
    assert test["confidence"] == pytest.approx(probabilities.max(axis=1).mean(), abs=1e-5)
    assert record.metrics["objective"] == {"metric": "auroc", "mode": "max", "best": record.metrics["val"]["auroc"]}
    (epoch,) = columns(record.path / "metrics.csv")
    assert float(epoch["val/auroc"]) == pytest.approx(record.metrics["val"]["auroc"], abs=1e-6)
    assert "confidence" in capsys.readouterr().out
    other = train(*mine, *ONE_EPOCH, "seed=1", "metrics=auroc", output="other")
    assert (
        cli.run(["compare", f"runs=[{record.path},{other.path}]", "objective=accuracy", f"output={tmp_path / 'c'}"])
        == 0
    )
    rows = {row["records"]: row for row in columns(tmp_path / "c" / "leaderboard.csv")}
    assert float(rows[str(record.path)]["test_auroc"]) == pytest.approx(auroc, abs=1e-5)
    assert rows[str(other.path)]["test_confidence"] == ""
    assert "| auroc | confidence |" in (tmp_path / "c" / "leaderboard.md").read_text()
    assert cli.run(["evaluate", *mine, f"run={other.path}", "metrics=confidence", f"output={tmp_path / 'e'}"]) == 0
    again = RunRecord(tmp_path / "e").metrics["test"]
    assert "auroc" not in again
    assert again["confidence"] == pytest.approx(predictions(other)[1].max(axis=1).mean(), abs=1e-5)


def test_torchs_cross_entropy_is_the_loss(mine, train):
    record = train(*mine, *ONE_EPOCH, "loss=torch", "batch_size=12")
    labels, probabilities = map(torch.from_numpy, predictions(record))
    expected = F.cross_entropy(probabilities.log(), labels, torch.tensor([1.0, 2, 3]).double(), label_smoothing=0.1)
    assert record.metrics["test"]["loss"] == pytest.approx(float(expected), abs=1e-5)


def test_masks_follow_a_transform_and_255_counts_for_nothing(mine, segment):
    words = ("dataset=synthetic_streets", "dataset.train=6", "dataset.val=3", "dataset.test=5", "regime.epochs=1")
    record = segment(*mine, *words, "transforms=turn", "metrics=micro", "loss=pixels")
    test = record.metrics["test"]
    assert test["micro"] == pytest.approx(test["pixel_accuracy"], abs=1e-6)
    assert np.isfinite(test["loss"])
    assert record.state == "completed"


@pytest.mark.slow
def test_transforms_change_a_run_and_a_kill_or_workers_do_not(mine, train, monkeypatch):
    words = (*mine, "regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]", "model.dropout=0.5")
    rain = ("transforms=[blur,rain]", "augment=strong")
    whole = train(*words, *rain, output="whole")
    run_killed(train, monkeypatch, 2, 1, *words, *rain, "num_workers=1")
    assert_same_bits(whole, train(*words, *rain, "num_workers=1", output="killed"))
    dry = train(*words, "augment=strong", output="dry")
    assert whole.history()[0]["train/loss"] != dry.history()[0]["train/loss"]


def test_a_data_set_of_the_users_is_trained_on_and_tested(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["model=timm_classifier", "model.name=test_resnet", "image_size=[32,32]", "trainer=cpu", "batch_size=4"]
    one_epoch = ["regime=single", "regime.epochs=1"]
    assert cli.run(["train", *mine, "dataset=parity", "+dataset.each=4", *words, *one_epoch, "output=run"]) == 0
    record = RunRecord(tmp_path / "run")
    assert record.metrics["test"]["n"] == 12
    assert record.metrics["label_space"]["name"] == "cleanliness"
    assert cli.run(["evaluate", "run=run", "output=again"]) == 0
    assert RunRecord(tmp_path / "again").metrics["test"]["confusion"] == record.metrics["test"]["confusion"]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("transforms=small", "transforms.small: RandomCrop gives (3, 16, 16); the size has to stay (3, 32, 32)"),
        (
            "transforms=blurr",
            "no transforms 'blurr'; did you mean 'blur'? (transforms has blur, rain, rand_augment, small, turn)",
        ),
        (
            "metrics.auroc=1",
            "metrics.auroc=1: nothing is chosen in metrics; metrics=NAME takes NAME.yaml of metrics/ in",
        ),
        ("task.objective.metric=auroc", "task.objective.metric: 'auroc' is not one of macro_f1, accuracy"),
    ],
)
def test_a_part_that_does_not_fit_is_one_line(mine, train, capsys, word, line):
    train(*mine, word, code=2)
    (error,) = (row for row in capsys.readouterr().err.splitlines() if row.startswith("streetlab:"))
    assert line in error

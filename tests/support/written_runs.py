"""Run records built with the writing API: realistic numbers without a network."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streetlab.datasets.labels import CLEANLINESS
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.records.record import RunRecord

CONFIG: dict[str, Any] = {
    "study": "cleanliness",
    "seed": 0,
    "image_size": [224, 224],
    "batch_size": 32,
    "num_workers": 2,
    "task": {
        "_target_": "streetlab.tasks.classification.ClassificationTask",
        "objective": {"metric": "macro_f1", "mode": "max"},
    },
    "dataset": {
        "name": "street_cleanliness",
        "root": "data/street_cleanliness",
        "cache_dir": "outputs/.cache",
    },
    "model": {
        "_target_": "streetlab.networks.classifiers.timm_classifier",
        "name": "resnet18.tv_in1k",
        "dropout": 0.0,
    },
    "regime": {
        "_target_": "streetlab.training.phases.PhaseSchedule",
        "max_epochs": None,
        "phases": [
            {"name": "probe", "epochs": 6, "train": ["head"], "lr_scale": 1.0},
            {"name": "tune", "epochs": 12, "train": ["layer4", "head"], "lr_scale": 0.1},
        ],
    },
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001, "weight_decay": 0.0001},
    "augment": {"_target_": "streetlab.loading.augment.Augment"},
    "trainer": {"accelerator": "cpu", "precision": "32-true"},
    "logger": {},
}


def random_predictions(n: int, skill: float, seed: int) -> Predictions:
    """A classifier of n photos; skill 0 guesses, 5 is nearly always right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3)) + skill * np.exp(-0.8 * np.abs(labels[:, None] - np.arange(3)))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [f"test/{CLEANLINESS.names[label].lower()}/{i:04d}.png" for i, label in enumerate(labels)]
    groups = [f"g{i // 2}" for i in range(n)]
    return Predictions(ids, groups, labels, probabilities.argmax(axis=1), probabilities, CLEANLINESS.names)


def write_history(path: Path, best: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = ["epoch", "step", "phase", "train/loss", "val/loss", "val/accuracy", "val/macro_f1", "lr"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for epoch in range(1, 19):
            phase, lr = ("probe", 1e-3) if epoch <= 6 else ("tune", 1e-4)
            writer.writerow({"epoch": epoch, "step": epoch * 16 - 8, "phase": phase, "lr": lr})
            score = best - 0.45 * math.exp(-epoch / 3) + rng.normal(0, 0.012)
            writer.writerow(
                {
                    "epoch": epoch,
                    "step": epoch * 16,
                    "phase": phase,
                    "train/loss": 0.1 + math.exp(-epoch / 6),
                    "val/loss": 0.3 + 0.9 * math.exp(-epoch / 5) + rng.normal(0, 0.03),
                    "val/accuracy": score,
                    "val/macro_f1": score - 0.01,
                }
            )


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(base)
    for key, value in changes.items():
        *above, last = key.split(".")
        node = config
        for name in above:
            node = node[name]
        node[last] = value
    return config


@pytest.fixture
def make_record(tmp_path: Path):
    """`make_record(name, skill=…, seed=…, overrides=[…], **{"model.name": …})` → a completed record."""

    def make(
        name: str,
        *,
        skill: float = 2.5,
        seed: int = 0,
        overrides: list[str] | None = None,
        n: int = 114,
        split_hash: str = "ab12",
        **changes: Any,
    ) -> RunRecord:
        record = RunRecord(tmp_path / "outputs" / name)
        config = merged(CONFIG, {"seed": seed, **changes})
        record.write_config(config, [*(overrides or []), f"seed={seed}"])
        record.write_status(state="running", started="2025-11-20T10:00:00")
        parts = {
            "val": random_predictions(100, skill, seed + 1000),
            "test": random_predictions(n, skill, seed + int(skill * 1e4)),
        }
        record.write_predictions(parts)
        summaries = {split: summarize_classification(p, CLEANLINESS) for split, p in parts.items()}
        write_history(record.path / "metrics.csv", summaries["val"]["accuracy"], seed)
        record.write_metrics(
            {
                "task": "classification",
                "objective": {"metric": "macro_f1", "mode": "max", "best": summaries["val"]["macro_f1"]},
                "best_epoch": 14 + seed % 3,
                "phases": [{"name": "probe", "first_epoch": 1, "epochs": 6}],
                "eval_split": "test",
                "label_space": CLEANLINESS.to_dict(),
                **summaries,
            }
        )
        record.write_model(
            {
                "parameters": 11_178_051,
                "checkpoint_bytes": 44_800_000,
                "gmacs": 1.82,
                "seconds_per_epoch": [41.0] * 18,
                "images_per_second": 51.3,
            }
        )
        record.write_status(state="completed", ended=f"2025-11-20T11:00:{seed:02d}", split_hash=split_hash)
        return record

    return make

"""How long `streetlab compare` takes on many records, and how much memory.

Writes synthetic records of 112 test photos and 40 epochs, five seeds of each configuration, and a few that were
cut short, into a temporary folder; then runs the command on it as a process of its own, page and all.

    python benchmarks/compare_speed.py --records 1000
"""

from __future__ import annotations

import argparse
import copy
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from streetlab.config import plain
from streetlab.config.composition import composer
from streetlab.datasets.labels import CLEANLINESS
from streetlab.io import files
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.records.record import RunRecord

SEEDS = 5
PHOTOS = 112
EPOCHS = 40
SWEPT: dict[str, tuple[Any, ...]] = {
    "optimizer.lr": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3),
    "optimizer.weight_decay": (0.0, 1e-5, 1e-4, 1e-3),
    "loss.label_smoothing": (0.0, 0.1),
    "model.name": ("resnet18.tv_in1k", "convnext_atto", "efficientnet_b0", "mobilenetv3_small_100", "resnet34"),
    "batch_size": (8, 16, 32, 64, 128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="write the records here and leave them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        write_records(folder, options.records)
        command = [sys.executable, "-m", "streetlab", "compare", f"runs={folder}"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        page = folder / "compare" / "compare.html"
        size = page.stat().st_size / 1e6
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6  # kB on Linux
    print(
        f"{options.records} records: {seconds:.1f} s ({cpu:.1f} s of CPU), {peak:.0f} MB at the peak, "
        f"a page of {size:.1f} MB"
    )


def write_records(folder: Path, count: int) -> None:
    """`count` complete records, and one in a hundred more that is running, failed or half-written."""
    with composer() as compose:
        config = plain(compose.compose("train", ["experiment=cleanliness_from_scratch", "dataset.root=photos"]))
    configs = itertools.islice(_configs(config), -(-count // SEEDS))
    for number, (changed, seed) in enumerate(itertools.product(configs, range(SEEDS))):
        if number == count:
            break
        _write_record(folder / f"{number:04d}", {**changed, "seed": seed}, number // SEEDS, seed)
    for number in range(count // 100):
        record = RunRecord(folder / f"unfinished-{number:03d}")
        record.write_status(state=("running", "failed", "completed")[number % 3])


def _configs(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The config with every combination of `SWEPT`."""
    for values in itertools.product(*SWEPT.values()):
        changed = copy.deepcopy(config)
        for key, value in zip(SWEPT, values, strict=True):
            node = changed
            *above, last = key.split(".")
            for name in above:
                node = node[name]
            node[last] = value
        yield changed


def _write_record(path: Path, config: dict[str, Any], number: int, seed: int) -> None:
    record = RunRecord(path)
    skill = 1.5 + number % 7 / 4
    parts = {"val": _predictions("val", skill, (number, seed)), "test": _predictions("test", skill, (seed, number))}
    summaries = {split: summarize_classification(part, CLEANLINESS) for split, part in parts.items()}
    record.write_config(config, [f"seed={seed}"])
    record.write_predictions(parts)
    record.write_metrics(
        {
            "task": "classification",
            "objective": {"metric": "macro_f1", "mode": "max"},
            "best_epoch": EPOCHS - seed,
            "phases": [{"name": "train", "first_epoch": 1, "epochs": EPOCHS}],
            "eval_split": "test",
            "label_space": CLEANLINESS.to_dict(),
            **summaries,
        }
    )
    record.write_model(
        {
            "parameters": 2_000_000 + 500_000 * (number % 40),
            "checkpoint_bytes": 8_000_000 + 2_000_000 * (number % 40),
            "gmacs": 0.2 + 0.1 * (number % 40),
            "seconds_per_epoch": [10.0 + number % 13] * EPOCHS,
            "images_per_second": 520.0 / (10 + number % 13),
        }
    )
    files.write_csv(path / "metrics.csv", _history(summaries["val"]["macro_f1"]), list(next(_history(0.0))))
    record.write_status(state="completed", ended=f"2026-01-01T00:00:{seed:02d}", split_hash="ab" * 32)


def _predictions(split: str, skill: float, seed: tuple[int, int]) -> Predictions:
    """The same photos for every run; an eighth of them are second copies."""
    labels = np.arange(PHOTOS) % len(CLEANLINESS)
    logits = np.random.default_rng(seed).normal(size=(PHOTOS, len(CLEANLINESS)))
    logits[np.arange(PHOTOS), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [f"{split}/{CLEANLINESS.names[label].lower()}/{i:04d}.png" for i, label in enumerate(labels)]
    groups = [f"{split}{i - 3 if i % 8 == 3 else i}" for i in range(PHOTOS)]
    return Predictions(ids, groups, labels, probabilities.argmax(axis=1), probabilities, CLEANLINESS.names)


def _history(best: float) -> Iterator[dict[str, Any]]:
    """A row of training and a row of validation for each epoch."""
    for epoch in range(1, EPOCHS + 1):
        row = {"epoch": epoch, "step": epoch * 16, "phase": "train", "lr": 1e-3, "train/loss": 1 / epoch}
        score = best * (1 - 0.5**epoch)
        yield row | {"val/loss": None, "val/accuracy": None, "val/macro_f1": None}
        yield row | {"train/loss": None, "val/loss": 0.3 + 1 / epoch, "val/accuracy": score, "val/macro_f1": score}


if __name__ == "__main__":
    main()

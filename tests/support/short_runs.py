"""A finished run of each task, trained for a moment on small photos and drawn streets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.segmentation_runs import SMALL, STREETS
from tests.support.tiny_runs import TINY

from streetlab import cli

ONE_EPOCH = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")


def train_each_task(folder: Path, photos: Path, classification: Sequence[str] = ()) -> dict[str, Path]:
    """Train both into `folder`; the run folders by task. `classification`: further words for the one on photos."""
    lines = {
        "classification": [*TINY, *ONE_EPOCH, *classification, f"dataset.root={photos}"],
        "segmentation": [*STREETS, *SMALL, "regime.epochs=1"],
    }
    for task, words in lines.items():
        assert cli.run(["train", *words, f"dataset.cache_dir={folder / 'cache'}", f"output={folder / task}"]) == 0
    return {task: folder / task for task in lines}

"""A tiny tree of photos, and `streetlab train` on it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab import cli
from streetlab.records.record import RunRecord

CLASSES = ("clean", "medium", "litter")
TINY = (
    "dataset=street_cleanliness",
    "model=timm_classifier",
    "model.name=test_resnet",  # timm's own network for tests: layer1 to layer4 and fc, 0.5 M parameters
    "image_size=[32,32]",
    "batch_size=8",
    "trainer=cpu",
    "trainer.precision=32-true",
    "logger=none",
    "optimizer.lr=0.01",
)


def write_photos(root: Path, per_split: dict[str, int], side: int = 40) -> Path:
    """Noise with a class-dependent tint, so that something can be learned."""
    random = np.random.default_rng(0)
    for split, count in per_split.items():
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 160, (side, side, 3))
                pixels[..., label] += 60
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}_{number}.png")
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), {"train": 9, "val": 4, "test": 4})


@pytest.fixture
def train(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRecord]:
    """`train("key=value", ..., output="name")`: runs to the end and returns the record."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, output: str = "run", code: int = 0) -> RunRecord:
        line = [
            "train", *TINY, f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}",
            *words, f"output={tmp_path / output}",
        ]  # fmt: skip
        assert cli.run(line) == code
        return RunRecord(tmp_path / output)

    return run

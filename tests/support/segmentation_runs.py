"""Words of a small segmentation run, and the fixture that trains it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streetlab import cli
from streetlab.records.record import RunRecord

STREETS = ("dataset=synthetic_streets", "dataset.train=6", "dataset.val=3", "dataset.test=5")


Train = Callable[..., RunRecord]
SMALL = (
    "model=hrnetv2_w18", "model.small=true", "image_size=[64,96]", "batch_size=3", "regime=single", "regime.epochs=2",
    "trainer=cpu", "trainer.precision=32-true", "logger=none", "optimizer.lr=1e-3",
)  # fmt: skip


@pytest.fixture
def segment(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Train:
    """`segment("key=value", ..., output="name")`: runs to the end and returns the record."""
    monkeypatch.chdir(tmp_path)
    cache = tmp_path_factory.getbasetemp() / "segmentation-cache"

    def run(*words: str, output: str = "run", code: int = 0) -> RunRecord:
        line = ["train", *words, *SMALL, f"dataset.cache_dir={cache}", f"output={tmp_path / output}"]
        given = {word.partition("=")[0] for word in words}
        line = [word for word in line if word in words or word.partition("=")[0] not in given]
        assert cli.run(line) == code
        return RunRecord(tmp_path / output)

    return run

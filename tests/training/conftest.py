"""A tiny tree of photos, and `streetlab train` on it in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.support.segmentation_runs import segment  # noqa: F401  (a fixture of the tests here)
from tests.support.tiny_runs import TINY, write_photos

from streetlab import cli
from streetlab.records.record import RunRecord


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


@pytest.fixture
def drawn_figures() -> None:
    """Draw the figures of this test's runs; those of others are blank, since drawing takes a quarter of a tiny run."""


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "drawn_figures" not in request.fixturenames:
        blank = io.BytesIO()
        Image.new("RGB", (8, 8)).save(blank, format="png")
        monkeypatch.setattr("streetlab.training.report.png", lambda figure: blank.getvalue())

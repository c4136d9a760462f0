"""Fixtures of several packages: small photos on disk, and the real data where it is available."""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streetlab.records.record import RunRecord
from tests.support.written_runs import make_record  # noqa: F401  (fixtures of all tests)

PhotoTree = Callable[[Path, Mapping[str, int]], Path]


@pytest.fixture(scope="session")
def photo_tree() -> PhotoTree:
    """`photo_tree(root, {"train/clean": 3, ...})` writes that many small photos into each folder.

    No two have the same contents, and a photo's contents follow from its place, not from the root's.
    """

    def write(root: Path, counts: Mapping[str, int]) -> Path:
        for place, count in counts.items():
            folder = root / place
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                random = np.random.default_rng(zlib.crc32(f"{place}/{number}".encode()))
                pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        return root

    return write


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """`shared_data("street_cleanliness")`: a folder of ../shared/data, or a skip with the reason."""

    def find(name: str) -> Path:
        folder = Path(__file__).parents[2] / "shared" / "data" / name
        if not folder.is_dir():
            pytest.skip(f"no real data: {folder} is not there")
        return folder

    return find


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task, by its name; a module that wants others has a fixture of this name."""
    from tests.support.short_runs import train_each_task
    from tests.support.tiny_runs import write_photos

    folder = tmp_path_factory.mktemp("trained")
    return train_each_task(folder, write_photos(folder / "photos", {"train": 4, "val": 2, "test": 2}))


@pytest.fixture
def classifier(trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """The finished run on photos that `trained` holds, moved to another folder."""
    monkeypatch.chdir(tmp_path)
    return RunRecord(shutil.copytree(trained["classification"], tmp_path / "runs" / "photos"))


@pytest.fixture
def segmenter(trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """The finished run on drawn streets that `trained` holds, moved to another folder."""
    monkeypatch.chdir(tmp_path)
    return RunRecord(shutil.copytree(trained["segmentation"], tmp_path / "runs" / "streets"))


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that reads HEIC photos is not installed."""
    monkeypatch.setattr("streetlab.datasets.content.heif_readable", lambda: False)


@dataclass(frozen=True)
class OpenedPage:
    """A page in Chromium: Playwright's `page`, what it asked for besides itself, and what its scripts complained of."""

    page: Any
    requests: list[str]
    errors: list[str]


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        # where a browser is promised, a test that passes without one would hide that the promise was broken
        (pytest.fail if os.environ.get("STREETLAB_BROWSER") == "required" else pytest.skip)("no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(_chromium: Any) -> Iterator[Callable[[Path], OpenedPage]]:
    """`open_page(path)`: an HTML file in headless Chromium, without a network."""
    contexts = []

    def open_(path: Path) -> OpenedPage:
        context = _chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})
        contexts.append(context)
        opened = OpenedPage(context.new_page(), [], [])
        address = path.resolve().as_uri()
        opened.page.on(
            "request",
            lambda request: None if request.url in (address,) or request.url.startswith("data:")
            else opened.requests.append(request.url),
        )  # fmt: skip
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.goto(address)
        return opened

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take away the handlers that a test's Hydra app added: their stream is closed when the test ends."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:  # pytest's own are of other classes
            root.removeHandler(handler)

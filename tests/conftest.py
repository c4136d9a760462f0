"""What tests of several packages share: small photos on disk, and the real data where it lies beside us."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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

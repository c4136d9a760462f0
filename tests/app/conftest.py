"""Fixtures for the server's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.app_stand_ins import Served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serve(queue=3, ...)`: the application with stand-ins, its storage in `tmp_path / "storage"`."""
    made: list[Served] = []

    def serve(**settings: Any) -> Served:
        storage = tmp_path / "storage"
        storage.mkdir()
        made.append(Served(storage, **settings))
        return made[-1]

    yield serve
    for served in made:
        served.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """The application with stand-ins and the usual limits."""
    return serve()

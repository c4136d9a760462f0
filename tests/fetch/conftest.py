"""A server of one file, without a proxy and without pauses between attempts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.support.file_server import FileServer, serving

from streetlab.fetch import download

BODY = random.Random(0).randbytes(1_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    with serving(FileServer({"file.bin": BODY})) as running:
        yield running

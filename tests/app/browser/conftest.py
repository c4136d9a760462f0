"""A served page in Chromium: the real server under its own policy, with models whose answers a test can work out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.page_stand_in import StandInCatalog
from tests.support.serving import VARIANTS, Served, serving

pytest.importorskip("fastapi", reason="the page needs streetlab[app]")
pytest.importorskip("uvicorn", reason="the page needs streetlab[app]")


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings

    settings = Settings(storage=tmp_path_factory.mktemp("storage"), runs=tmp_path_factory.mktemp("runs"), port=0)
    catalog = StandInCatalog(settings)
    with serving(create_app(settings, catalog=catalog)) as url:  # type: ignore[arg-type]
        yield Served(url, settings, catalog)


@pytest.fixture
def served(_server: Served) -> Iterator[Served]:
    """The server, with its gate open: a test that wants a job to wait closes it."""
    _server.catalog.gate.set()
    _server.catalog.asked.clear()
    yield _server
    _server.catalog.gate.set()


@dataclass
class Visit:
    """A page that was opened: Playwright's `page`, the addresses it asked for, and what its scripts complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def visit(_chromium: Any) -> Iterator[Callable[..., Visit]]:
    """`visit(url, **context)`: a page in headless Chromium; in the end no script has failed and no request has left."""
    contexts = []
    visits: list[Visit] = []

    def open_(url: str, **options: Any) -> Visit:
        context = _chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        opened = Visit(context.new_page())
        visits.append(opened)
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("console", lambda said: opened.errors.append(said.text) if _is_violation(said) else None)
        opened.page.goto(url)
        return opened

    yield open_
    for context in contexts:
        context.close()
    for opened in visits:
        assert opened.errors == []
        strange = [url for url in opened.requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
        assert strange == [], "a request left this machine"


def _is_violation(said: Any) -> bool:
    """Whether a line of the console says that the policy of the page was broken."""
    return said.type == "error" and "Content Security Policy" in said.text


@pytest.fixture
def striped(tmp_path: Path) -> Path:
    """A photo of 19 stripes, one for each class of Cityscapes, ever surer towards the bottom; lossless."""
    import numpy as np
    from PIL import Image

    height, width = 48, 95
    red = np.repeat((np.arange(19) * 256 // 19 + 6), width // 19)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = red
    pixels[..., 1] = np.linspace(20, 255, height).astype(np.uint8)[:, None]
    path = tmp_path / "striped.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def six_variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each of the six variants, trained for a moment on drawn streets."""
    from streetlab import cli

    folder = tmp_path_factory.mktemp("variants")
    words = [
        "debug=limit", "trainer=cpu", "dataset=synthetic_streets", "dataset.train=2", "dataset.val=2", "dataset.test=2",
        "image_size=[64,96]", "batch_size=2", "model.weights=null", f"dataset.cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    for variant in VARIANTS:
        assert cli.run(["train", f"experiment={variant}", *words, f"output={folder / 'runs' / variant}"]) == 0
    return folder / "runs"

"""The survey's page in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def visit(_chromium: Any) -> Iterator[Callable[..., Any]]:
    """`visit(path, script=..., **context)`: the drawn page; in the end nothing has failed and nothing was asked for."""
    contexts, errors, strange = [], [], []

    def open_(path: Path, script: str = "", **options: Any) -> Any:
        context = _chromium.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        allowed = (path.as_uri(), (path.parent / "pictures").as_uri(), "blob:", "data:")
        page.on("request", lambda request: None if request.url.startswith(allowed) else strange.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri())
        page.wait_for_selector("#map[data-drawn]", timeout=60_000)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
    assert strange == [], "the page asked for something"

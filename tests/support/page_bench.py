"""An empty page under the server's policy, on which a test builds one stage over files of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.serving import serving

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bench</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/app.css">
<link rel="stylesheet" href="/static/stages.css">
</head>
<body data-task="segmentation">
<main><div class="picture"><div id="stage"><section class="pane"><div class="host"></div></section></div></div></main>
</body>
</html>
"""


@contextlib.contextmanager
def bench(files: Path) -> Iterator[str]:
    """The address of the page; the files of that folder are served under `/files/`, with byte ranges."""
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse
    from fastapi.staticfiles import StaticFiles

    from streetlab.app.routes.pages import STATIC
    from streetlab.app.security import HEADERS

    app = FastAPI()

    @app.middleware("http")
    async def policy(request, call_next):
        answer = await call_next(request)
        answer.headers.update(HEADERS)
        return answer

    app.get("/")(lambda: HTMLResponse(_PAGE))
    app.mount("/static", StaticFiles(directory=STATIC))
    app.mount("/files", StaticFiles(directory=files))
    with serving(app) as url:
        yield url

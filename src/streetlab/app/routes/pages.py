"""The page, the page of the API, and their static files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from streetlab.app.routes.visitors import name_visitor

STATIC = Path(__file__).parents[1] / "static"
_REVALIDATED = {"Cache-Control": "no-cache"}


def add_pages(app: FastAPI) -> None:
    """Add `/`, `/api` and `/static`."""
    app.mount("/static", _Static(directory=STATIC, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> FileResponse:
        response = FileResponse(STATIC / "index.html", headers=_REVALIDATED)
        name_visitor(request, response)
        return response

    @app.get("/api", include_in_schema=False)
    async def api_page() -> FileResponse:
        return FileResponse(STATIC / "api.html", headers=_REVALIDATED)


class _Static(StaticFiles):
    """Static files that browsers revalidate."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(_REVALIDATED)
        return response

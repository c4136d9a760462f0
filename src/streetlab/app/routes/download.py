"""The route of downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streetlab.app.jobs.queue import Jobs
from streetlab.app.models.catalog import Catalog
from streetlab.app.routes import schemas
from streetlab.app.routes.faults import faults
from streetlab.app.routes.jobs import ended_well


def add_download(app: FastAPI, catalog: Catalog, jobs: Jobs) -> None:
    """Add `POST /api/download`."""

    @app.post(
        "/api/download",
        response_class=Response,
        responses={
            200: {"content": {"application/octet-stream": {}}, "description": "The file, or a zip of all"},
            **faults(400, 404, 409, 413),
        },
        summary="Masks, overlays as shown and tables",
    )
    def download(wanted: schemas.Download) -> Response:
        from streetlab.app.jobs.bundle import bundle

        chosen = [ended_well(jobs, id_) for id_ in dict.fromkeys(wanted.jobs)]
        folders = [job.folder for job in chosen]
        jobs.storage.hold(*folders)
        try:
            name, media_type, content = bundle(chosen, wanted.look.given(), wanted.parts, catalog)
            response: Response
            if isinstance(content, Path):
                response = FileResponse(content, media_type=media_type, filename=name)
            else:
                disposition = FileResponse("", filename=name).headers["content-disposition"]
                response = StreamingResponse(
                    content, media_type=media_type, headers={"Content-Disposition": disposition}
                )
        except BaseException:
            jobs.storage.release(*folders)
            raise
        return _Held(response, lambda: jobs.storage.release(*folders))


class _Held(Response):
    """A response that keeps its files until it has been sent, or the client has left."""

    def __init__(self, response: Response, release: Callable[[], None]) -> None:
        self._response = response
        self._release = release
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            await run_in_threadpool(self._release)

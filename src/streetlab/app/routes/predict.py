"""The route that queues a prediction."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from streetlab.app.jobs.job import Job
from streetlab.app.jobs.queue import Jobs
from streetlab.app.media.uploads import check, display_name, take_in
from streetlab.app.models.catalog import Catalog
from streetlab.app.routes import schemas
from streetlab.app.routes.faults import faults
from streetlab.app.routes.jobs import accepted, known_job
from streetlab.app.routes.options import check_names, read_options
from streetlab.app.routes.visitors import Visitor
from streetlab.app.security import UPLOAD_PATH
from streetlab.app.settings import Settings
from streetlab.errors import UserError

_UPLOAD_BODY = {
    "requestBody": {
        "description": "The photo or video as it is, no form; left out with `source`",
        "required": False,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add_predict(app: FastAPI, settings: Settings, catalog: Catalog, jobs: Jobs) -> None:
    """Add `POST /api/predict`."""

    @app.post(
        UPLOAD_PATH,
        status_code=202,
        responses={
            202: {"model": schemas.Accepted, "description": "Queued"},
            **faults(400, 404, 408, 411, 413, 415, 422, 429, 507),
        },
        openapi_extra=_UPLOAD_BODY,
        summary="Predict a photo or video",
    )
    async def predict(
        request: Request,
        visitor: Visitor,
        model: Annotated[str, Query(max_length=100, description="Id of a model of /api/models")],
        name: Annotated[str, Query(max_length=4000, description="Name of the file; for showing only")] = "",
        source: Annotated[str, Query(max_length=100, description="A job whose upload is predicted again")] = "",
        mode: Annotated[schemas.Mode, Query(description="Size at which the network sees the photo")] = "resized",
        flip: Annotated[bool, Query(description="Predict the mirrored photo too")] = False,
        scales: Annotated[
            str, Query(max_length=100, description="Predict at these multiples of the size, 0.75,1")
        ] = "1",
        smooth: Annotated[float, Query(description="Weight of the frame before in a video, below 1")] = 0.0,
        cam: Annotated[bool, Query(description="Make class activation maps of a photo")] = False,
        blur: Annotated[bool, Query(description="Pixelate people and vehicles in every picture")] = False,
    ) -> JSONResponse:
        check_names(key for key, _ in request.query_params.multi_items())
        options = read_options(mode, flip, scales, smooth, cam, blur)
        entry = await run_in_threadpool(catalog.entry, model)
        if cam and entry["task"] == "classification" and not entry["activations"]:
            raise UserError(f"cam: {entry['title']} is an exported model; maps are made of runs and checkpoints")
        jobs.refuse_if_full(visitor)
        if source:
            return accepted(jobs, await _again(request, jobs, source, name, model, options, visitor))
        if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
            raise HTTPException(411, "send the file's bytes with a Content-Length, or name an earlier job with source=")
        upload = await take_in(request.stream(), jobs.storage)
        try:
            kind, size = await check(upload, settings, visitor)
            shown = display_name(name, kind)
            job = jobs.submit(kind, shown, model, options, upload=upload, visitor=visitor, size=size)
        finally:
            jobs.storage.release(upload)  # by now the job holds it, or nobody does
        return accepted(jobs, job)


async def _again(
    request: Request, jobs: Jobs, source: str, name: str, model: str, options: dict[str, Any], visitor: str
) -> Job:
    async for chunk in request.stream():
        if chunk:
            raise HTTPException(400, "source: a job is named and a file is sent; only one of them can be predicted")
    first = known_job(jobs, source)
    if first.upload is None or first.kind == "render":
        raise HTTPException(400, "source: that job is an overlay, which has no upload of its own")
    shown = display_name(name, first.kind) if name else first.name
    return jobs.submit(first.kind, shown, model, options, upload=first.upload, source=first, visitor=visitor)

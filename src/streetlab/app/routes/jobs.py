"""The routes of one job: state, cancellation, overlay, files, attention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from streetlab.app.jobs.attention import attention_of
from streetlab.app.jobs.job import Job, clock
from streetlab.app.jobs.queue import ID, Jobs, UnknownJob
from streetlab.app.media import results
from streetlab.app.routes import schemas
from streetlab.app.routes.faults import faults
from streetlab.app.routes.visitors import Visitor
from streetlab.io.files import to_plain
from streetlab.plots.paint import PaintRequest

JobId = Annotated[str, InPath(alias="id")]


def known_job(jobs: Jobs, id_: str) -> Job:
    """Get the job with this id.

    Raises:
        UnknownJob: there is none, or it has expired.
    """
    if not ID.fullmatch(id_):
        raise UnknownJob("no such job; it may have expired")
    return jobs.get(id_)


def ended_well(jobs: Jobs, id_: str) -> Job:
    """Get the job with this id, which must have a result.

    Raises:
        UnknownJob: as `known_job`.
        HTTPException: 409 it has no result.
    """
    job = known_job(jobs, id_)
    if job.result is None:
        raise HTTPException(409, f"job {id_} has no result: it is {job.state}")
    return job


def accepted(jobs: Jobs, job: Job) -> JSONResponse:
    """The response to a request that has queued a job."""
    described = jobs.describe(job)
    body = {"id": job.id, "url": f"/api/jobs/{job.id}", "state": described["state"], "position": described["position"]}
    return JSONResponse(body, 202, {"Location": body["url"]})


def add_jobs(app: FastAPI, jobs: Jobs) -> None:
    """Add the routes under `/api/jobs`."""
    view: dict[int | str, dict[str, Any]] = {200: {"model": schemas.JobView}, **faults(404)}

    @app.get("/api/jobs/{id}", responses=view, summary="The state of a job, and its result")
    async def job(id_: JobId) -> JSONResponse:
        return JSONResponse(to_plain(jobs.describe(known_job(jobs, id_))))

    @app.delete("/api/jobs/{id}", responses=view, summary="Cancel a job that has not ended, delete one that has")
    def cancel(id_: JobId) -> JSONResponse:
        return JSONResponse(to_plain(jobs.describe(jobs.cancel(known_job(jobs, id_).id))))

    @app.post(
        "/api/jobs/{id}/render",
        status_code=202,
        responses={202: {"model": schemas.Accepted, "description": "Queued"}, **faults(400, 404, 409, 413, 429, 507)},
        summary="Paint the overlay of a finished job as shown, without running the network",
    )
    def render(id_: JobId, look: PaintRequest, visitor: Visitor) -> JSONResponse:
        source = ended_well(jobs, id_)
        if source.kind == "render":
            raise HTTPException(400, "that job is an overlay already")
        job = jobs.submit("render", source.name, source.model, look.given(), source=source, visitor=visitor)
        return accepted(jobs, job)

    @app.get(
        "/api/jobs/{id}/files/{name}",
        response_class=FileResponse,
        responses={
            200: {
                "content": {kind: {} for kind in results.MEDIA_TYPES.values()},
                "description": "The file, or a range of it",
            },
            **faults(404),
        },
        summary="A file that the result of a job names",
    )
    async def file(id_: JobId, name: str) -> FileResponse:
        owner = known_job(jobs, id_)
        media_type = results.MEDIA_TYPES.get(Path(name).suffix)
        path = owner.folder / name
        if name not in _named_files(owner) or media_type is None or path.is_symlink() or not path.is_file():
            raise HTTPException(404, "the job has no such file")
        seconds = max(0, int((owner.expires or 0) - clock()))
        headers = {"Cache-Control": f"private, max-age={seconds}, immutable"}
        return FileResponse(path, media_type=media_type, headers=headers)


def _named_files(job: Job) -> set[str]:
    """The names of the files whose addresses are in the result."""
    start = f"/api/jobs/{job.id}/files/"
    names: set[str] = set()
    nodes: list[Any] = [job.result]
    while nodes:
        node = nodes.pop()
        if isinstance(node, str) and node.startswith(start):
            names.add(node.removeprefix(start))
        elif isinstance(node, dict):
            nodes.extend(node.values())
        elif isinstance(node, Sequence) and not isinstance(node, str):
            nodes.extend(node)
    return {name for name in names if Path(name).name == name}


def attention_routes(jobs: Jobs) -> APIRouter:
    """Build `GET /api/jobs/{id}/attention?with=OTHER`: a classification's map and a segmentation of the same photo."""
    router = APIRouter()
    job = InPath(alias="id", description="A classification job")
    segmented = Query(alias="with", description="A segmentation job of the same photo")
    whose = Query(None, alias="class", description="Whose map; the predicted class's if left out")

    @router.get("/api/jobs/{id}/attention", summary="Share of a classifier's attention that lies on ground")
    def attention(id_: str = job, other: str = segmented, class_: int | None = whose) -> dict[str, Any]:
        return attention_of(jobs.get(id_), jobs.get(other), class_)

    return router

"""The web server: one page, and the REST interface that it and everyone else uses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streetlab import __version__
from streetlab.app import results, schemas
from streetlab.app.attention import attention_routes
from streetlab.app.catalog import Catalog, UnknownModel
from streetlab.app.jobs import ID, Job, Jobs, QueueFull, UnknownJob
from streetlab.app.options import check_names, read_options
from streetlab.app.security import UPLOAD_PATH, Guard, Names
from streetlab.app.settings import Settings
from streetlab.app.storage import StorageFull
from streetlab.app.uploads import Refused, check, display_name, formats, take_in, videos_readable
from streetlab.errors import UserError, first_line
from streetlab.io.filenames import one_line
from streetlab.io.files import to_plain

STATIC = Path(__file__).with_name("static")
_FAULTS = {
    400: "A parameter or the body is not as it should be",
    403: "Wrong Host or Origin",
    404: "No such model or job, or not any more",
    408: "The upload stood still",
    409: "The job has not ended well",
    411: "How long the body is must be said",
    413: "Too many bytes, pixels or frames",
    415: "Not a format that is taken",
    422: "The file does not decode",
    429: "The queue is full; Retry-After says for how long, probably",
    507: "The storage is full; Retry-After says when something expires",
}

Work = Callable[..., dict[str, Any]]
JobId = Annotated[str, InPath(alias="id")]


def create_app(settings: Settings, catalog: Catalog | None = None, work: Work | None = None) -> FastAPI:
    """The application; its jobs and models are `app.state.jobs` and `.catalog`.

    Args:
        settings: `storage` must be a folder of its own.
        catalog, work: those of `app.catalog` and `app.work`, unless others stand in for them.
    """
    known = Catalog(settings) if catalog is None else catalog
    perform = _work if work is None else work
    jobs = Jobs(settings, lambda job, report, cancelled: perform(job, known, jobs, report, cancelled))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.close)

    app = FastAPI(
        title="streetlab",
        version=__version__,
        description='What finished runs see in photos and videos. Every fault is `{"error": "one line"}`.',
        docs_url=None,  # these pages fetch their scripts from elsewhere; ours is /api
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    describe = app.openapi
    app.openapi = lambda: schemas.without_defaults(describe())  # type: ignore[method-assign]
    app.state.jobs, app.state.catalog = jobs, known
    app.add_middleware(Guard, settings=settings, names=Names(settings.host, settings.hosts))
    _add_faults(app, jobs)
    _add_pages(app)
    _add_models(app, settings, known)
    _add_predict(app, settings, known, jobs)
    _add_jobs(app, jobs)
    _add_download(app, known, jobs)
    app.include_router(attention_routes(jobs), responses=_faults(400, 404))
    return app


def _work(*arguments: Any) -> dict[str, Any]:
    from streetlab.app.work import work  # brings torch along, which the first page need not wait for

    return work(*arguments)


def _faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": schemas.Fault, "description": _FAULTS[status]} for status in sorted({*statuses, 403})}


def _add_faults(app: FastAPI, jobs: Jobs) -> None:
    """Every fault in JSON, in one line, with its status."""

    def answer(status: int, line: object, headers: Any = None) -> JSONResponse:
        return JSONResponse({"error": one_line(first_line(line))}, status, headers)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, fault: HTTPException) -> JSONResponse:
        return answer(fault.status_code, fault.detail, fault.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, fault: RequestValidationError) -> JSONResponse:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return answer(400, f"{where[:80]}: {first['msg']}")

    @app.exception_handler(UserError)
    async def bad_input(_: Request, fault: UserError) -> JSONResponse:
        if isinstance(fault, QueueFull):
            return answer(429, fault, {"Retry-After": str(fault.retry_after)})
        if isinstance(fault, StorageFull):
            return answer(507, fault, {"Retry-After": str(jobs.first_expiry())})
        if isinstance(fault, UnknownJob | UnknownModel):
            return answer(404, fault)
        return answer(fault.status if isinstance(fault, Refused) else 400, fault)


def _add_pages(app: FastAPI) -> None:
    app.mount("/static", _Static(directory=STATIC, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_REVALIDATED)

    @app.get("/api", include_in_schema=False)
    async def api_page() -> FileResponse:
        return FileResponse(STATIC / "api.html", headers=_REVALIDATED)


_REVALIDATED = {"Cache-Control": "no-cache"}


class _Static(StaticFiles):
    """The page's own files; browsers ask whether they have changed."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(_REVALIDATED)
        return response


def _add_models(app: FastAPI, settings: Settings, catalog: Catalog) -> None:
    @app.get("/api/models", responses={200: {"model": schemas.Models}, **_faults()}, summary="What can be asked")
    def models() -> JSONResponse:
        limits = {
            "upload_bytes": settings.upload_bytes,
            "pixels": settings.pixels,
            "video_frames": settings.video_frames,
            "formats": formats(),
            "videos": videos_readable(),
            "expire_minutes": settings.expire_minutes,
        }
        return JSONResponse(to_plain({"models": catalog.models(), "limits": limits}))


_UPLOAD_BODY = {
    "requestBody": {
        "description": "The photo or video as it is, no form; left out with `source`",
        "required": False,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _add_predict(app: FastAPI, settings: Settings, catalog: Catalog, jobs: Jobs) -> None:
    @app.post(
        UPLOAD_PATH,
        status_code=202,
        responses={
            202: {"model": schemas.Accepted, "description": "Queued"},
            **_faults(400, 404, 408, 411, 413, 415, 422, 429, 507),
        },
        openapi_extra=_UPLOAD_BODY,
        summary="Predict a photo or video",
    )
    async def predict(
        request: Request,
        model: Annotated[str, Query(max_length=100, description="Id of a model of /api/models")],
        name: Annotated[str, Query(max_length=4000, description="What the file is called; for showing only")] = "",
        source: Annotated[str, Query(max_length=100, description="A job whose upload is asked again")] = "",
        mode: Annotated[schemas.Mode, Query(description="How large the network sees the photo")] = "resized",
        flip: Annotated[bool, Query(description="Ask the mirrored photo too")] = False,
        scales: Annotated[str, Query(max_length=100, description="Ask at these multiples, 0.75,1")] = "1",
        smooth: Annotated[float, Query(description="Weight of the frame before in a video, below 1")] = 0.0,
        cam: Annotated[bool, Query(description="What in a photo spoke for a class")] = False,
    ) -> JSONResponse:
        check_names(key for key, _ in request.query_params.multi_items())
        options = read_options(mode, flip, scales, smooth, cam)
        asked = await run_in_threadpool(catalog.entry, model)
        if cam and asked["task"] == "classification" and not asked["activations"]:
            raise UserError(f"cam: {asked['title']} is an exported model; maps are made of runs and checkpoints")
        jobs.refuse_if_full()
        if source:
            return _accepted(jobs, await _again(request, jobs, source, name, model, options))
        if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
            raise HTTPException(411, "send the file's bytes with a Content-Length, or name an earlier job with source=")
        upload = await take_in(request.stream(), jobs.storage)
        try:
            kind = await check(upload, settings)
            job = jobs.submit(kind, display_name(name, kind), model, options, upload=upload)
        finally:
            jobs.storage.release(upload)  # by now the job holds it, or nobody does
        return _accepted(jobs, job)


async def _again(request: Request, jobs: Jobs, source: str, name: str, model: str, options: dict[str, Any]) -> Job:
    async for chunk in request.stream():
        if chunk:
            raise HTTPException(400, "source: a job is named and a file is sent; only one of them can be predicted")
    first = _known(jobs, source)
    if first.upload is None or first.kind == "render":
        raise HTTPException(400, "source: that job is an overlay, which has no upload of its own")
    shown = display_name(name, first.kind) if name else first.name
    return jobs.submit(first.kind, shown, model, options, upload=first.upload, source=first)


def _known(jobs: Jobs, id_: str) -> Job:
    if not ID.fullmatch(id_):
        raise UnknownJob("no such job; it may have expired")
    return jobs.get(id_)


def _ended_well(jobs: Jobs, id_: str) -> Job:
    job = _known(jobs, id_)
    if job.result is None:
        raise HTTPException(409, f"job {id_} has no result: it is {job.state}")
    return job


def _accepted(jobs: Jobs, job: Job) -> JSONResponse:
    described = jobs.describe(job)
    body = {"id": job.id, "url": f"/api/jobs/{job.id}", "state": described["state"], "position": described["position"]}
    return JSONResponse(body, 202, {"Location": body["url"]})


def _add_jobs(app: FastAPI, jobs: Jobs) -> None:
    view: dict[int | str, dict[str, Any]] = {200: {"model": schemas.JobView}, **_faults(404)}

    @app.get("/api/jobs/{id}", responses=view, summary="How a job stands, and its result")
    async def job(id_: JobId) -> JSONResponse:
        return JSONResponse(to_plain(jobs.describe(_known(jobs, id_))))

    @app.delete("/api/jobs/{id}", responses=view, summary="Cancel a job that has not ended, delete one that has")
    def cancel(id_: JobId) -> JSONResponse:
        return JSONResponse(to_plain(jobs.describe(jobs.cancel(_known(jobs, id_).id))))

    @app.post(
        "/api/jobs/{id}/render",
        status_code=202,
        responses={202: {"model": schemas.Accepted, "description": "Queued"}, **_faults(400, 404, 409, 413, 429, 507)},
        summary="Paint the overlay of a finished job as shown; the network is not asked",
    )
    def render(id_: JobId, look: schemas.Look) -> JSONResponse:
        source = _ended_well(jobs, id_)
        if source.kind == "render":
            raise HTTPException(400, "that job is an overlay already")
        return _accepted(jobs, jobs.submit("render", source.name, source.model, look.given(), source=source))

    @app.get(
        "/api/jobs/{id}/files/{name}",
        response_class=FileResponse,
        responses={
            200: {
                "content": {kind: {} for kind in results.MEDIA_TYPES.values()},
                "description": "The file, or a range of it",
            },
            **_faults(404),
        },
        summary="A file that the result of a job names",
    )
    async def file(id_: JobId, name: str) -> FileResponse:
        found = _known(jobs, id_)
        media_type = results.MEDIA_TYPES.get(Path(name).suffix)
        path = found.folder / name
        if name not in _named_files(found) or media_type is None or path.is_symlink() or not path.is_file():
            raise HTTPException(404, "the job has no such file")
        seconds = max(0, int((found.expires or 0) - time.time()))
        headers = {"Cache-Control": f"private, max-age={seconds}, immutable"}
        return FileResponse(path, media_type=media_type, headers=headers)


def _named_files(job: Job) -> set[str]:
    """The names of the files to which a result has addresses."""
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


class _Held(Response):
    """A response whose files stay until it has been sent, or the client has left."""

    def __init__(self, response: Response, release: Callable[[], None]) -> None:
        self._response = response
        self._release = release
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            await run_in_threadpool(self._release)


def _add_download(app: FastAPI, catalog: Catalog, jobs: Jobs) -> None:
    @app.post(
        "/api/download",
        response_class=Response,
        responses={
            200: {"content": {"application/octet-stream": {}}, "description": "The file, or a zip of all"},
            **_faults(400, 404, 409, 413),
        },
        summary="Masks, overlays as shown and tables",
    )
    def download(wanted: schemas.Download) -> Response:
        from streetlab.app.download import bundle

        chosen = [_ended_well(jobs, id_) for id_ in dict.fromkeys(wanted.jobs)]
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

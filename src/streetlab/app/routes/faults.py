"""Faults as JSON: one line, with the HTTP status that fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from streetlab.app.jobs.queue import Jobs, QueueFull, UnknownJob
from streetlab.app.media.storage import StorageFull, cannot_store
from streetlab.app.media.uploads import Refused
from streetlab.app.models.catalog import UnknownModel
from streetlab.app.routes import schemas
from streetlab.errors import UserError, first_line
from streetlab.io.filenames import one_line

log = logging.getLogger(__name__)

_FAULTS = {
    400: "A parameter or the body is invalid",
    403: "Wrong Host or Origin",
    404: "No such model or job, or it has expired",
    408: "The upload stood still",
    409: "The job has not ended well",
    411: "The length of the body is missing",
    413: "Too many bytes, pixels or frames",
    415: "Not an allowed format",
    422: "The file does not decode",
    429: "The queue is full, or the visitor has enough under way; Retry-After says for how long, probably",
    507: "The storage is full; Retry-After says when something expires",
}


def faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these statuses; 403 is always among them."""
    return {status: {"model": schemas.Fault, "description": _FAULTS[status]} for status in sorted({*statuses, 403})}


def add_faults(app: FastAPI, jobs: Jobs) -> None:
    """Answer every fault in JSON, in one line, with its status."""

    def answer(status: int, line: object, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": one_line(first_line(line))}, status, headers)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, fault: HTTPException) -> JSONResponse:
        return answer(fault.status_code, fault.detail, fault.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, fault: RequestValidationError) -> JSONResponse:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return answer(400, f"{where[:80]}: {first['msg']}")

    @app.exception_handler(OSError)
    async def disk(request: Request, fault: OSError) -> JSONResponse:
        line = cannot_store(fault)
        if line is None:
            raise fault
        log.error("%s %s: %s", request.method, request.url.path, fault)
        return answer(507, line, {"Retry-After": str(jobs.first_expiry())})

    @app.exception_handler(UserError)
    async def bad_input(_: Request, fault: UserError) -> JSONResponse:
        if isinstance(fault, QueueFull):
            return answer(429, fault, {"Retry-After": str(fault.retry_after)})
        if isinstance(fault, StorageFull):
            return answer(507, fault, {"Retry-After": str(jobs.first_expiry())})
        if isinstance(fault, UnknownJob | UnknownModel):
            return answer(404, fault)
        return answer(fault.status if isinstance(fault, Refused) else 400, fault)

"""The route that lists models and limits."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from streetlab.app.media.uploads import formats, videos_readable
from streetlab.app.models.catalog import Catalog
from streetlab.app.routes import schemas
from streetlab.app.routes.faults import faults
from streetlab.app.settings import Settings
from streetlab.io.files import to_plain


def add_models(app: FastAPI, settings: Settings, catalog: Catalog) -> None:
    """Add `GET /api/models`."""

    @app.get("/api/models", responses={200: {"model": schemas.Models}, **faults()}, summary="Models and limits")
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

"""The web server: the page and the REST API behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from streetlab import __version__
from streetlab.app.jobs.processes import WorkerProcesses
from streetlab.app.jobs.queue import Jobs
from streetlab.app.models.catalog import Catalog
from streetlab.app.routes import schemas
from streetlab.app.routes.download import add_download
from streetlab.app.routes.faults import add_faults, faults
from streetlab.app.routes.jobs import add_jobs, attention_routes
from streetlab.app.routes.models import add_models
from streetlab.app.routes.pages import add_pages
from streetlab.app.routes.predict import add_predict
from streetlab.app.security import Guard, Names
from streetlab.app.settings import Settings

Work = Callable[..., dict[str, Any]]


def create_app(settings: Settings, catalog: Catalog | None = None, work: Work | None = None) -> FastAPI:
    """Build the application; its jobs and models are `app.state.jobs` and `.catalog`.

    Args:
        settings: `storage` must be a folder of its own.
        catalog, work: `Catalog(settings)` and `jobs.work.work`, unless others stand in for them.
    """
    known = Catalog(settings) if catalog is None else catalog
    processes = WorkerProcesses(settings) if work is None and settings.workers > 1 else None
    perform = work or processes or _work
    jobs = Jobs(settings, lambda job, report, cancelled: perform(job, known, jobs, report, cancelled))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.close)
        if processes is not None:
            await run_in_threadpool(processes.close)

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
    app.state.jobs, app.state.catalog, app.state.resumed = jobs, known, jobs.resume()
    app.state.processes = processes
    app.add_middleware(Guard, settings=settings, names=Names(settings.host, settings.hosts))
    add_faults(app, jobs)
    add_pages(app)
    add_models(app, settings, known)
    add_predict(app, settings, known, jobs)
    add_jobs(app, jobs)
    add_download(app, known, jobs)
    app.include_router(attention_routes(jobs), responses=faults(400, 404))
    return app


def _work(*arguments: Any) -> dict[str, Any]:
    from streetlab.app.jobs.work import work  # brings torch along, which the first page need not wait for

    return work(*arguments)

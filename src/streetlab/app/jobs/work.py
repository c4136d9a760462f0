"""Do one job: predict a photo or a video, or paint an overlay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streetlab.app.jobs.blur import blur_of
from streetlab.app.jobs.photo import predict_photo
from streetlab.app.jobs.render import render
from streetlab.app.jobs.video import predict_frames
from streetlab.errors import UserError
from streetlab.inference.views import Views

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.jobs.queue import Jobs
    from streetlab.app.models.catalog import Catalog


def work(
    job: Job,
    catalog: Catalog,
    jobs: Jobs,
    report: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Do the job; its files are written into its folder and nowhere else.

    Args:
        report: receives the number of frames or photos done, and the total where it is known.
        cancelled: returns true once the job shall stop.

    Returns:
        the job's `result`, as `/api/jobs/{id}` shows it.

    Raises:
        UserError: it cannot be done; the message is one line for the visitor.
        Cancelled: `cancelled` returned true; the caller deletes the files written so far.
    """
    try:
        if job.kind == "render":
            return render(job, jobs.get(str(job.source)), catalog, report, cancelled)
        return _predict(job, catalog, report, cancelled)
    except UserError as error:
        raise UserError(_without_paths(str(error), job)) from error


def _predict(
    job: Job, catalog: Catalog, report: Callable[[int, int | None], None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    options = job.options
    views = Views(
        mode=options.get("mode", "resized"), flip=options.get("flip", False), scales=options.get("scales", (1.0,))
    )
    predictor = catalog.predictor(job.model, views)
    predict = predict_photo if job.kind == "photo" else predict_frames
    return predict(job, predictor, catalog.settings, report, cancelled, blur_of(job, predictor, catalog))


def _without_paths(line: str, job: Job) -> str:
    """Replace paths of this machine in a message by the visitor's name for the file."""
    if job.upload is not None:
        line = line.replace(str(job.upload), job.name)
    return line.replace(f"{job.folder}/", "")

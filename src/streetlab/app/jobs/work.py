"""What the one worker of a device does for a job: predict a photo or a video, or paint a result as it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streetlab.app.jobs.photo import predict_photo
from streetlab.app.jobs.render import render
from streetlab.app.jobs.video import predict_frames
from streetlab.errors import UserError
from streetlab.inference.views import Views

if TYPE_CHECKING:
    from streetlab.app.jobs.queue import Job, Jobs
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
        report: is told how much is done, and of how much where that is known: frames, or one photo.
        cancelled: whether to stop.

    Returns:
        the job's `result`, as `/api/jobs/{id}` shows it.

    Raises:
        UserError: why it cannot be done, in a line for the visitor.
        Cancelled: `cancelled` said so; what was written stays for the caller to delete.
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
    return predict(job, predictor, catalog.settings, report, cancelled)


def _without_paths(line: str, job: Job) -> str:
    """The line with the visitor's name for the file in place of where it lies here."""
    if job.upload is not None:
        line = line.replace(str(job.upload), job.name)
    return line.replace(f"{job.folder}/", "")

"""Predict a video: write its frames as a browser plays them, and their ids or probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streetlab.app.jobs.photo import check_seen
from streetlab.app.media import results
from streetlab.app.media.uploads import most_frames
from streetlab.datasets.class_roles import ground_classes
from streetlab.errors import UserError
from streetlab.inference.picture_blur import BlurredSink, FrameBlur
from streetlab.inference.video.pipeline import predict_video
from streetlab.inference.video.reader import probe
from streetlab.inference.video.sinks import IdsSink, PhotoSink, ProbabilitiesSink, SharesSink

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.settings import Settings
    from streetlab.inference.picture_blur import PictureBlur
    from streetlab.inference.predictions import Classified, Segmented
    from streetlab.inference.predictor import Predictor
    from streetlab.inference.video.reader import Frame


def predict_frames(
    job: Job,
    predictor: Predictor,
    settings: Settings,
    report: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
    blur: PictureBlur | None = None,
) -> dict[str, Any]:
    """Predict a video and write its files into the job's folder.

    Args:
        blur: hides people and vehicles in the video that is shown, painted over and downloaded.

    Returns:
        the job's result; its `broken` says why the end is missing, where it is.

    Raises:
        UserError: it is no video that can be read, or the network cannot take it.
        Cancelled: `cancelled` returned true.
    """
    if job.upload is None:
        raise UserError(f"{job.name}: there is no file of it")
    label_space = predictor.label_space
    info = probe(job.upload, settings.most_of_frame)
    check_seen(job, info.width, info.height, settings.pixels)
    frames, seen = PhotoSink(job.folder / results.PHOTO_VIDEO, info, job.upload), _Seen()
    shown = frames if blur is None else BlurredSink(frames, FrameBlur(blur))
    sinks: list[Any] = [shown, seen]
    outputs: dict[str, Any]
    if predictor.per_pixel:
        ids = IdsSink(job.folder / results.IDS_VIDEO, info, len(label_space))
        sinks += [ids, SharesSink(job.folder / results.SHARES, label_space.names)]
        files = {"photo": results.PHOTO_VIDEO, "ids": results.IDS_VIDEO, "csv": results.SHARES}
        outputs = {"layout": ids.layout.to_dict(), "ground": ground_classes(label_space)}
    else:
        sinks.append(ProbabilitiesSink(job.folder / results.PROBABILITIES, label_space.names))
        files = {"photo": results.PHOTO_VIDEO, "csv": results.PROBABILITIES}
        outputs = {"probabilities": seen.probabilities, "calibrated": predictor.temperature is not None}
    video_report = predict_video(
        predictor,
        job.upload,
        sinks,
        smooth=job.options.get("smooth", 0.0),
        on_progress=report,
        cancelled=cancelled,
        most_frames=most_frames(info.width * info.height, settings),
        most_pixels=settings.most_of_frame,
    )
    if predictor.per_pixel:
        outputs["shares"] = list(video_report.shares)
    else:
        outputs["prediction"] = max(range(len(video_report.shares)), key=video_report.shares.__getitem__)
    return {
        "task": predictor.task,
        "width": info.width,
        "height": info.height,
        "fps": f"{info.fps.numerator}/{info.fps.denominator}",
        "frames": video_report.frames,
        "times": seen.times,
        "files": results.addresses(job.id, **files),
        **outputs,
        "flicker": video_report.flicker,
        "flicker_raw": video_report.flicker_raw,
        "audio": probe(job.folder / results.PHOTO_VIDEO).audio,
        "unlike_training": video_report.unlike_training,
        "unlike_share": video_report.unlike_share,
        "broken": video_report.broken,
        "note": video_report.restarts_note,
        "seconds": {"all": round(video_report.seconds, 3)}
        | {stage: round(s, 3) for stage, s in video_report.stages.items()},
    }


class _Seen:
    """A sink that keeps the time of each frame and a classifier's probabilities, for the page."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.probabilities: list[list[float]] = []

    def write(self, frame: Frame, answer: Classified | Segmented) -> None:
        self.times.append(round(frame.time, 6))
        probabilities = getattr(answer, "probabilities", ())
        self.probabilities.append([round(float(value), 6) for value in probabilities])

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing was written."""

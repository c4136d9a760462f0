"""Predict videos one after the other, each with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streetlab.datasets.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.inference.outputs import UNLIKE, UNLIKE_SHARE, Written, by_name, failed, label_result
from streetlab.inference.photos import Named
from streetlab.inference.picture_blur import BlurredSink, FrameBlur, PictureBlur
from streetlab.inference.predictor import Predictor
from streetlab.inference.sources import Item
from streetlab.inference.video.pipeline import VideoReport, predict_video
from streetlab.inference.video.reader import VideoInfo, probe
from streetlab.inference.video.sinks import IdsSink, OverlaySink, PhotoSink, ProbabilitiesSink, SharesSink
from streetlab.plots.paint import PaintStyle
from streetlab.progress import counting


@dataclass(frozen=True)
class VideoResults:
    """Options of a video's results.

    Args:
        output: the folder of the results.
        label_space: the classes.
        parts: of masks, `overlay` is a video with their colours, `photo` the video itself.
        look: how it is painted.
        ids: of masks, the class ids are written too.
        audio: these videos have the video's sound.
        blur: hides people and vehicles in both; None: they are shown.
    """

    output: Path
    label_space: LabelSpace
    parts: Sequence[str]
    look: PaintStyle
    ids: bool
    audio: bool
    blur: PictureBlur | None = None

    def sinks(self, stem: str, path: Path, info: VideoInfo) -> dict[str, Any]:
        """The writer of each result of one video, by the result's path under the folder."""
        names = self.label_space.names
        if not self.label_space.spec.per_pixel:
            name = f"probabilities/{stem}.csv"
            return {name: ProbabilitiesSink(self.output / name, names)}
        sinks: dict[str, Any] = {}
        sound = path if self.audio and info.audio else None
        blur = FrameBlur(self.blur) if self.blur else None
        try:
            if "overlay" in self.parts:
                name = f"overlay/{stem}.mp4"
                sinks[name] = _blurred(OverlaySink(self.output / name, self.look, info, sound), blur)
            if "photo" in self.parts:
                name = f"photo/{stem}.mp4"
                sinks[name] = _blurred(PhotoSink(self.output / name, info, sound), blur)
            if self.ids:
                name = f"ids/{stem}.webm"
                sinks[name] = IdsSink(self.output / name, info, len(names))
            name = f"shares/{stem}.csv"
            sinks[name] = SharesSink(self.output / name, names)
        except BaseException:
            for sink in sinks.values():
                sink.abort()
            raise
        return sinks


def _blurred(sink: Any, blur: FrameBlur | None) -> Any:
    return sink if blur is None else BlurredSink(sink, blur)


def predict_videos(
    predictor: Predictor, videos: Sequence[Named], results: VideoResults, smooth: float
) -> Iterator[tuple[Item, str, Written]]:
    """Predict and write every video; yield each with its stem when its results are on disk, or why there are none."""
    for item, stem in videos:
        try:
            written = _predict(predictor, item, stem, results, smooth)
        except UserError as error:
            written = failed(str(error).removeprefix(f"{item.path}: ").removeprefix(f"{item.path} is "))
        yield item, stem, written


def _predict(predictor: Predictor, item: Item, stem: str, results: VideoResults, smooth: float) -> Written:
    info = probe(item.path)
    sinks = results.sinks(stem, item.path, info)
    with counting(item.file, info.frames) as show:
        report = predict_video(predictor, item.path, list(sinks.values()), smooth=smooth, on_progress=show)
    return Written(tuple(sinks), _result(info, report, results.label_space))


def _result(info: VideoInfo, report: VideoReport, label_space: LabelSpace) -> dict[str, Any]:
    result: dict[str, Any] = {
        "width": info.width,
        "height": info.height,
        "frames": report.frames,
        "fps": str(info.fps),
        "flicker": report.flicker,
        "seconds": round(report.seconds, 3),
        "stages": report.stages,
        "waits": report.waits,
    }
    if report.restarts_note is not None:
        result["note"] = report.restarts_note
    if report.flicker_raw is not None:
        result["flicker_raw"] = report.flicker_raw
    if report.unlike_share is not None:
        result |= {UNLIKE: report.unlike_training, UNLIKE_SHARE: round(report.unlike_share, 3)}
    if label_space.spec.per_pixel:
        result["shares"] = by_name(report.shares, label_space)
    else:
        result |= label_result(report.shares, label_space)
    return result if report.broken is None else result | {"error": report.broken}

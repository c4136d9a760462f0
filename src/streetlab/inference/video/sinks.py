"""Outputs of a predicted video: overlays, frames without overlay, id streams and tables."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from streetlab.inference.predictions import Classified, Segmented
from streetlab.inference.video.id_stream import IdStreamReader, IdStreamWriter, Layout
from streetlab.inference.video.output import Unfinished, Writer
from streetlab.inference.video.reader import Frame, VideoInfo, VideoReader
from streetlab.inference.video.writer import VideoWriter
from streetlab.io.filenames import ERRORS
from streetlab.io.files import CsvLines
from streetlab.plots.paint import PaintStyle, class_shares, paint
from streetlab.progress import Cancelled


class _WriterSink:
    """Passes frames to a writer, and ends it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.abort()


class OverlaySink(_WriterSink):
    """H.264 of the frames with their classes painted over them.

    Args:
        path: the .mp4.
        look: how they are painted.
        info: of the video that is predicted.
        audio_from: the file whose sound, if any, is carried over.
    """

    def __init__(self, path: Path, look: PaintStyle, info: VideoInfo, audio_from: Path | None = None) -> None:
        self._look = look
        self._video = VideoWriter(path, (info.height, info.width), info.fps, info.time_base, audio_from)
        super().__init__(self._video)

    def write(self, frame: Frame, answer: Segmented) -> None:
        self._video.write(paint(frame.pixels, answer.ids, self._look, answer.confidence), frame.pts, frame.duration)


class PhotoSink(_WriterSink):
    """H.264 of the frames as they are, upright: what a page shows beneath the classes.

    Args:
        path: the .mp4.
        info: of the video that is predicted.
        audio_from: the file whose sound, if any, is carried over.
    """

    def __init__(self, path: Path, info: VideoInfo, audio_from: Path | None = None) -> None:
        self._video = VideoWriter(path, (info.height, info.width), info.fps, info.time_base, audio_from)
        super().__init__(self._video)

    def write(self, frame: Frame, answer: Classified | Segmented) -> None:
        self._video.write(frame.pixels, frame.pts, frame.duration)


class IdsSink(_WriterSink):
    """The lossless stream of class ids and, unless turned off, confidences; `layout` is its `Layout`.

    Args:
        path: the .webm.
        info: of the video that is predicted.
        classes: how many there are.
    """

    def __init__(self, path: Path, info: VideoInfo, classes: int, confidence: bool = True) -> None:
        self._confidence = confidence
        self._stream = IdStreamWriter(path, (info.height, info.width), classes, info.fps, info.time_base, confidence)
        super().__init__(self._stream)

    @property
    def layout(self) -> Layout:
        return self._stream.layout

    def write(self, frame: Frame, answer: Segmented) -> None:
        self._stream.write(answer.ids, answer.confidence if self._confidence else None, frame.pts)


class _TableSink:
    """A CSV with a row per frame, which starts with `time` in seconds and `frame` from 0."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = Unfinished(path)
        with self._file.writing():
            self._text: TextIO = self._file.temporary.open("x", encoding="utf-8", newline="", errors=ERRORS)
        self._rows = csv.writer(CsvLines(self._text), lineterminator=CsvLines.END)
        self._number = 0
        self._row("time", "frame", *columns)

    def close(self) -> None:
        if not self._text.closed:
            with self._file.writing():
                self._text.close()
            self._file.finish()

    def abort(self) -> None:
        if not self._text.closed:
            self._text.close()
            self._file.discard()

    def _add(self, frame: Frame, *cells: str) -> None:
        self._row(f"{frame.time:.6f}", str(self._number), *cells)
        self._number += 1

    def _row(self, *cells: str) -> None:
        with self._file.writing():
            self._rows.writerow(cells)


class SharesSink(_TableSink):
    """`time,frame,<class>,...`: the share of each class in each frame.

    Args:
        path: the .csv.
        names: of the classes, in their order.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path, names)
        self._classes = len(names)

    def write(self, frame: Frame, answer: Segmented) -> None:
        self._add(frame, *(f"{share:.6f}" for share in class_shares(answer.ids, self._classes)))


class ProbabilitiesSink(_TableSink):
    """`time,frame,prediction,<class>,...`: the predicted class of each frame, and the probability of each class.

    Args:
        path: the .csv.
        names: of the classes, in their order.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path, ["prediction", *names])
        self._names = names

    def write(self, frame: Frame, answer: Classified) -> None:
        self._add(frame, self._names[answer.prediction], *(f"{value:.6f}" for value in answer.probabilities))


def render_overlay(
    photo_source: Path,
    ids: Path,
    look: PaintStyle,
    out: Path,
    audio_from: Path | None = None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Paint a stored id stream over its frames, without a network; return the number of frames.

    Args:
        photo_source: the video that was predicted, or the .mp4 of a `PhotoSink`, whose odd sides may be padded.
        ids: the id stream; frames beyond its end are left out.
        audio_from: the file whose sound, if any, is carried over.

    Raises:
        Cancelled: `cancelled` said so; nothing is left.
        UserError: a file cannot be read or written.
    """
    done = 0
    with VideoReader(photo_source) as photos, IdStreamReader(ids) as stream:
        height, width = stream.layout.ids[:1:-1]
        info = photos.info
        with VideoWriter(out, (height, width), info.fps, info.time_base, audio_from) as video:
            for frame, (classes, confidence, _) in zip(photos, stream, strict=False):
                if cancelled():
                    raise Cancelled
                video.write(paint(frame.pixels[:height, :width], classes, look, confidence), frame.pts, frame.duration)
                done += 1
                on_progress(done, info.frames)
    return done

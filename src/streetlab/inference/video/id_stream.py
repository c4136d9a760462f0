"""Class ids and confidences of a video as lossless VP9, which browsers decode to the exact values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.errors import UserError
from streetlab.inference.video.output import Output, Writer
from streetlab.inference.video.source import UnreadableVideo, open_source, pyav, said

_BLACK, _WHITE = 16, 235
"""The ends of luma's range; between them browsers give every value a grey of its own."""
_WIDEST_STEP = 11
_LEVELS, _LEVEL_STEP = 20, 10
_MOST_CLASSES = _WHITE - _BLACK + 1
_TAG = "STREETLAB_LAYOUT"
_MILLISECOND = Fraction(1, 1000)  # WebM's time base
_LIMITED = 1

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class Layout:
    """The layout of a coded frame: luma is 16 + step * id in `ids`, 16 + 10 * level in `confidence`.

    Args:
        width, height: of the coded frame, even.
        step: luma between neighbouring ids: 11 up to 20 classes, as wide as fits beyond.
        ids: the rectangle of the ids, one pixel each.
        confidence: the rectangle of the confidences, a pixel for each 2x2 of the ids, level = mean / 255 * 20 rounded.
    """

    width: int
    height: int
    step: int
    ids: Rectangle
    confidence: Rectangle | None

    @classmethod
    def of(cls, size: tuple[int, int], classes: int, confidence: bool) -> Layout:
        """The layout for (H, W) ids of that many classes.

        Raises:
            UserError: there are more classes than values of luma.
        """
        if not 1 <= classes <= _MOST_CLASSES:
            raise UserError(f"an id stream of {classes} classes; 1 to {_MOST_CLASSES} can be told apart in one")
        height, width = size
        even, half = height + height % 2, (-(-width // 2), -(-height // 2))
        return cls(
            width=width + width % 2,
            height=even + (half[1] + half[1] % 2 if confidence else 0),
            step=min(_WIDEST_STEP, (_WHITE - _BLACK) // max(1, classes - 1)),
            ids=(0, 0, width, height),
            confidence=(0, even, *half) if confidence else None,
        )

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Layout:
        """The layout that `to_dict` gave."""
        confidence = plain["confidence"]
        return cls(
            plain["width"],
            plain["height"],
            plain["step"],
            tuple(plain["ids"]),
            None if confidence is None else tuple(confidence),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return json.loads(json.dumps(asdict(self)))


class IdStreamWriter(Writer):
    """Writes the ids of each frame; the file appears when it is complete.

    A key frame comes at least every second, so that a player can jump.

    Args:
        path: the .webm to write.
        size: (H, W) of the ids.
        classes: how many there are, at most 220.
        fps: the average rate.
        time_base: seconds of one step of the `pts` to come; WebM rounds times to milliseconds.
        confidence: whether confidences are stored as well.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        classes: int,
        fps: Fraction,
        time_base: Fraction,
        confidence: bool = True,
    ) -> None:
        self._av = pyav()
        self.layout = Layout.of(size, classes, confidence)
        self._classes, self._time_base = classes, time_base
        self._last, self._key = -1, -1000
        self._output = Output(path, "webm", {})
        try:
            self._output.container.metadata[_TAG] = json.dumps(self.layout.to_dict())
            # 230 frames of 512x256 and 36 of 1280x720 per second of CPU, 1.7 times as many as with cpu-used=5
            self._stream = self._output.container.add_stream(
                "libvpx-vp9",
                rate=fps,
                width=self.layout.width,
                height=self.layout.height,
                time_base=_MILLISECOND,
                options={
                    "lossless": "1",
                    "deadline": "realtime",
                    "cpu-used": "8",
                    "row-mt": "1",
                    "lag-in-frames": "0",
                    "auto-alt-ref": "0",
                },
            )
            context = self._stream.codec_context
            context.pix_fmt = "yuv420p"
            context.color_range = _LIMITED
            context.thread_count = min(8, os.cpu_count() or 1)
        except BaseException:
            self.abort()
            raise

    @property
    def path(self) -> Path:
        return self._output.path

    def write(self, ids: NDArray[np.uint8], confidence: NDArray[np.uint8] | None, pts: int) -> None:
        """Add (H, W) uint8 ids and, where the stream has them, confidences; `pts` rises from frame to frame.

        Raises:
            ValueError: another shape, an id that is no class, or confidences missing.
        """
        if ids.shape != self.layout.ids[:1:-1]:
            raise ValueError(f"ids of {ids.shape} in a stream of {self.layout.ids[:1:-1]}")
        if int(ids.max()) >= self._classes:
            raise ValueError(f"id {ids.max()} in a stream of {self._classes} classes")
        frame = self._av.VideoFrame(self.layout.width, self.layout.height, "yuv420p")
        for plane, value in zip(frame.planes, (_BLACK, 128, 128), strict=True):
            _plane(plane)[:] = value
        luma = _plane(frame.planes[0])
        _part(luma, self.layout.ids)[:] = _BLACK + self.layout.step * ids
        if self.layout.confidence is not None:
            if confidence is None:
                raise ValueError("a stream with confidences got none")
            _part(luma, self.layout.confidence)[:] = _BLACK + _LEVEL_STEP * _levels(confidence)
        frame.pts = self._last = max(round(pts * self._time_base / _MILLISECOND), self._last + 1)
        frame.time_base = _MILLISECOND
        if frame.pts - self._key >= 1000:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._key = frame.pts
        with self._output.writing():
            self._output.container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the end of the file and put it in place.

        Raises:
            ValueError: no frame was written.
        """
        if self._last < 0:
            self.abort()
            raise ValueError(f"{self.path}: an id stream needs a frame")
        try:
            with self._output.writing():
                self._output.container.mux(self._stream.encode(None))
            self._output.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        self._output.abort()


class IdStreamReader:
    """Iterates over (ids (H, W) uint8, confidence (H, W) uint8 or None, milliseconds) of an id stream.

    Confidences come back at the ids' size, in steps of 255 / 20.

    Raises:
        UnreadableVideo: not an id stream, or one that is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._av = pyav()
        self._container = open_source(self.path)
        try:
            self.layout = Layout.from_dict(json.loads(self._container.metadata[_TAG]))
        except (KeyError, ValueError, TypeError) as error:
            self._container.close()
            raise UnreadableVideo(f"{self.path} is not an id stream of streetlab") from error

    def __enter__(self) -> IdStreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None, int]]:
        layout = self.layout
        try:
            for frame in self._container.decode(video=0):
                luma = _plane(frame.planes[0])
                ids = (_part(luma, layout.ids) - _BLACK) // layout.step
                confidence = None
                if layout.confidence is not None:
                    levels = (_part(luma, layout.confidence) - _BLACK) // _LEVEL_STEP
                    values = np.rint(levels * (255 / _LEVELS)).astype(np.uint8)
                    confidence = values.repeat(2, 0).repeat(2, 1)[: ids.shape[0], : ids.shape[1]]
                yield ids, confidence, frame.pts
        except self._av.error.FFmpegError as error:
            raise UnreadableVideo(f"{self.path}: {said(error)}") from error


def _plane(plane: Any) -> NDArray[np.uint8]:
    """(h, w) view of a plane of 8 bits, without the padding of its lines."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _part(luma: NDArray[np.uint8], rectangle: Rectangle) -> NDArray[np.uint8]:
    x, y, width, height = rectangle
    return luma[y : y + height, x : x + width]


def _levels(confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(ceil H/2, ceil W/2) means of 2x2 in 20 levels."""
    height, width = confidence.shape
    even = np.pad(confidence, ((0, height % 2), (0, width % 2)), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return np.rint(total * (_LEVELS / (4 * 255))).astype(np.uint8)

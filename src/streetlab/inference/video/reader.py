"""Read a video frame by frame: upright, in square pixels, with the times that the file gives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.inference.video.source import (
    UnreadableVideo,
    announced_seconds,
    cut_off,
    is_short,
    open_source,
    pyav,
    said,
)
from streetlab.inference.video.timeline import Timeline

__all__ = ["Frame", "UnreadableVideo", "VideoInfo", "VideoReader", "probe"]

_RATE = Fraction(25)
_MOST_STRETCH = 4
_HD = 720
"""From this height on, frames that name no colour matrix are taken for BT.709, as browsers do; below for BT.601."""
_MATRICES = {1: "itu709", 4: "fcc", 5: "itu601", 6: "itu601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
"""From FFmpeg's AVColorSpace to swscale's names."""


@dataclass(frozen=True)
class VideoInfo:
    """The properties of a video known before all of it is read.

    Args:
        width, height: of the frames as they are shown: upright and in square pixels.
        fps: frames a second on average, exact.
        frames: how many there may be; None where the file does not say.
        seconds: how long the file says the video is.
        codec: FFmpeg's name, such as `h264`.
        audio: whether there is sound that can be carried over.
        rotation: degrees counter-clockwise that the stored frames are turned to be upright.
        time_base: seconds of one step of a frame's `pts`.
    """

    width: int
    height: int
    fps: Fraction
    frames: int | None
    seconds: float | None
    codec: str
    audio: bool
    rotation: int
    time_base: Fraction


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright, in square pixels.
        pts: its time in steps of the reader's `time_base`, counted from the first frame, rising.
        time: the same in seconds.
        duration: how long it is shown, in steps of `time_base`.
    """

    pixels: NDArray[np.uint8]
    pts: int
    time: float
    duration: int = 0


def probe(path: Path, most_pixels: int | None = None) -> VideoInfo:
    """Read the properties of a video; its first frame is decoded.

    Raises:
        UnreadableVideo: it has none, or one of more than `most_pixels`.
    """
    with VideoReader(path, most_pixels=most_pixels) as reader:
        return reader.info


class VideoReader:
    """Iterates once over the frames of a video.

    Frames are turned and mirrored as the display matrix has it, and enlarged along one side where their pixels are
    not square. Every frame has the size of the first. A file whose end is missing or
    damaged gives the frames before that; `broken` then says why the end is missing, else it is None. Times that start
    over are put behind each other, see `timeline.Timeline`; `restarts` then says where.

    Args:
        path: MP4, MOV, WebM, MKV, AVI, GIF, MPEG, FLV, ASF or Ogg.
        most_frames: no more than these are read; further ones count as a missing end.
        most_pixels: frames of more pixels are refused before they are decoded.

    Raises:
        UnreadableVideo: no file, not a video, no video stream, or no frame that decodes.
    """

    def __init__(self, path: Path, most_frames: int | None = None, most_pixels: int | None = None) -> None:
        self.path = Path(path)
        self.broken: str | None = None
        self._av = pyav()
        self._most_frames = most_frames
        self._reached = Fraction(0)
        self._given = 0
        self._fault: str | None = None
        self._container = open_source(self.path, most_pixels)
        self._timeline = Timeline(self._container)
        self._decoded = self._decode()
        try:
            self._stream = self._video_stream(most_pixels)
            first = next(self._decoded, None)
            if first is None:
                raise UnreadableVideo(f"{self.path} has no frame that decodes{self._because()}")
            self._stored = _squared(first, self._stream.sample_aspect_ratio)
            self._matrix = _display_matrix(first)
            self.info = self._describe(first.rotation)
            self._bound(self.info.width, self.info.height, most_pixels)
        except BaseException:
            self.close()
            raise
        self._first: Any = first
        self._origin = first.pts or 0
        self._reformatter = self._av.video.reformatter.VideoReformatter()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._decoded.close()  # it holds the reader, which holds it: else both stay until a collection of garbage
        self._container.close()

    @property
    def time_base(self) -> Fraction:
        return self.info.time_base

    @property
    def start(self) -> Fraction:
        """Seconds from the file's own zero to its first frame."""
        return self._origin * self.time_base

    @property
    def restarts(self) -> tuple[float, ...]:
        """Seconds from the first frame to where the file's time stamps started over, as far as it is read."""
        return tuple(float(time - self.start) for time in self._timeline.restarts)

    def __iter__(self) -> Iterator[Frame]:
        if self._first is None:
            raise ValueError(f"{self.path}: the frames were read already")
        frame, self._first = self._first, None
        step = max(1, round(1 / (self.info.fps * self.time_base)))
        last, end = -1, 0
        while frame is not None:
            if self._given == self._most_frames:
                self.broken = f"ended after {_frames(self._given)}: no more are read"
                return
            pts = end if frame.pts is None else max(frame.pts - self._origin, last + 1)
            duration = frame.duration or step
            self._given += 1
            yield Frame(self._pixels(frame), pts, float(pts * self.time_base), duration)
            last, end = pts, pts + duration
            frame = next(self._decoded, None)
        self.broken = self._missing_end(end * self.time_base)

    def _video_stream(self, most_pixels: int | None) -> Any:
        attached = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & attached]
        if not streams:
            raise UnreadableVideo(f"{self.path} has no video stream")
        stream = streams[0]
        if stream.codec_context is None:
            raise UnreadableVideo(f"{self.path}: its codec is not known")
        self._bound(stream.codec_context.width, stream.codec_context.height, most_pixels)
        stream.thread_type = "SLICE"  # with threads of whole frames a fault would show up some packets later
        stream.codec_context.thread_count = min(4, os.cpu_count() or 1)
        return stream

    def _bound(self, width: int, height: int, most_pixels: int | None) -> None:
        if most_pixels is not None and width * height > most_pixels:
            raise UnreadableVideo(
                f"{self.path}: frames of {width}x{height} pixels; at most {most_pixels:,} pixels are read"
            )

    def _decode(self) -> Generator[Any]:
        """The stream's frames; ends at the first fault after a frame and keeps it in `_fault`.

        Packets that do not decode are passed over before the first frame, as where a recording starts between two
        key frames.
        """
        errors = self._av.error
        seen, damaged = 0, None
        packets = self._timeline.packets()
        while True:
            try:
                packet = next(packets, None)
            except errors.FFmpegError as error:
                self._fault = said(error)
                break
            if packet is None:
                return
            if packet.stream is not self._stream:
                self._note(packet)
                continue
            try:
                frames = packet.decode()
            except errors.FFmpegError as error:
                self._fault = said(error)
                if seen:
                    damaged = packet.pts
                    break
                continue
            if frames:
                seen, self._fault = seen + len(frames), None
                yield from frames
        with contextlib.suppress(errors.FFmpegError):
            for frame in self._stream.decode(None):
                if not frame.is_corrupt and (None in (damaged, frame.pts) or frame.pts < damaged):
                    yield frame

    def _note(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            self._reached = max(self._reached, (packet.pts + (packet.duration or 0)) * packet.time_base)

    def _because(self) -> str:
        return f": {self._fault}" if self._fault else ""

    def _describe(self, rotation: int) -> VideoInfo:
        stream = self._stream
        fps = next((rate for rate in (stream.average_rate, stream.guessed_rate) if rate and rate > 0), _RATE)
        seconds = announced_seconds(self._container, stream)
        width, height = self._stored[::-1] if _is_turned(self._matrix) else self._stored
        return VideoInfo(
            width=width,
            height=height,
            fps=fps,
            frames=stream.frames or (max(1, round(seconds * fps)) if seconds else None),
            seconds=float(seconds) if seconds else None,
            codec=stream.codec_context.name,
            audio=any(track.codec_context is not None for track in self._container.streams.audio),
            rotation=rotation,
            time_base=stream.time_base or 1 / fps,
        )

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        width, height = self._stored
        matrix = _MATRICES.get(int(frame.colorspace), "itu709" if frame.height >= _HD else "itu601")
        plain = self._reformatter.reformat(frame, width, height, "rgb24", src_colorspace=matrix)
        return _upright(plain.to_ndarray(), self._matrix)

    def _missing_end(self, video_end: Fraction) -> str | None:
        announced = announced_seconds(self._container, self._stream)
        reached = video_end if self._stream.duration else max(video_end, self._reached)
        # what a file announces follows from its last time stamp, which says nothing where they start over
        cause = self._fault
        if cause is None and not self._timeline.restarts and is_short(reached, announced):
            cause = f"the file announces {float(announced or 0):.1f} s"
        cause = cause or cut_off(self.path, self._container)
        if cause is None:
            return None
        return f"ended after {_frames(self._given)}: {cause}"


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


def _squared(frame: Any, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) of the stored frame in square pixels; shapes that no camera has are ignored."""
    if not aspect or not Fraction(1, _MOST_STRETCH) <= aspect <= _MOST_STRETCH:
        return frame.width, frame.height
    return max(frame.width, round(frame.width * aspect)), max(frame.height, round(frame.height / aspect))


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d): the pixel at (x, y) is shown at (a x + c y, b x + d y), but for a shift."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    return a, b, c, d


def _is_turned(matrix: tuple[int, int, int, int]) -> bool:
    a, b, _, _ = matrix
    return abs(b) > abs(a)


def _upright(pixels: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turn by the nearest quarter, and mirror, as the display matrix has it."""
    a, b, c, d = matrix
    if _is_turned(matrix):
        pixels, rows, columns = pixels.swapaxes(0, 1), b, c
    else:
        rows, columns = d, a
    if rows < 0:
        pixels = pixels[::-1]
    if columns < 0:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

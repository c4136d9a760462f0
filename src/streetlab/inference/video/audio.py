"""Copy the sound of one file into another, packet by packet."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from streetlab.inference.video.reader import VideoReader
from streetlab.inference.video.source import UnreadableVideo, open_source, pyav, said
from streetlab.inference.video.timeline import Timeline

log = logging.getLogger(__name__)

_COPIED = {"aac", "mp3", "mp3float", "opus", "libopus", "flac"}
"""Codecs that MP4 holds and browsers play; sound of others is encoded anew, as AAC."""
_AAC_RATES = {7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
_INTERLEAVED = 5
"""Seconds that sound may lie ahead of the video of the same time in a file."""
_ROUNDING = Fraction(2, 1000)


class CarriedAudio:
    """The first sound track of a file, for an output whose zero is the first frame of that file's video.

    Packets of `_COPIED` codecs keep their bytes. Must be made before anything is muxed into the output. A file without
    sound carries nothing.

    Args:
        path: the file with the sound; one without a video starts at its own zero.
        output: the `av` output container, which gets one stream more.

    Raises:
        UnreadableVideo: the file cannot be read.
    """

    def __init__(self, path: Path, output: Any) -> None:
        self._path = path
        self._origin = _start_of_video(path)
        self._shown = Fraction(-1)
        self._container = open_source(path)
        self._packets = self._shifted()
        self._waiting: Any = None
        tracks = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        if not tracks:
            return
        if not tracks[0].codec_context.sample_rate:
            log.warning("%s: its sound is left out: nothing at its beginning says how it is stored", path)
            return
        self._track = tracks[0]
        context = self._track.codec_context
        self._copied = context.name in _COPIED
        if self._copied:
            self._stream = output.add_stream_from_template(self._track)
        else:
            self._stream = output.add_stream(
                "aac", rate=context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
            )
            self._stream.codec_context.layout = "mono" if context.channels == 1 else "stereo"
        self._waiting = next(self._packets, None)

    def until(self, seconds: Fraction) -> Iterator[Any]:
        """Yield the remaining packets that start before this time of the output."""
        while self._waiting is not None and self._waiting.dts * self._waiting.time_base < seconds:
            yield self._waiting
            self._waiting = next(self._packets, None)

    def rest(self, end: Fraction) -> Iterator[Any]:
        """Yield the remaining packets of a video that ended at this time.

        Sound that outlasts the video of its file is kept; where that video goes on, the sound is cut at `end`.
        """
        held: deque[Any] = deque()
        while self._waiting is not None:
            if self._shown >= end - _ROUNDING:
                return
            held.append(self._waiting)
            if (held[-1].dts - held[0].dts) * held[0].time_base > _INTERLEAVED:
                yield held.popleft()
            self._waiting = next(self._packets, None)
        if self._shown < end - _ROUNDING:
            yield from held

    def close(self) -> None:
        self._packets.close()  # it holds this object, which holds it: else both stay until a collection of garbage
        self._container.close()

    def _shifted(self) -> Generator[Any]:
        errors = pyav().error
        packets = self._copies() if self._copied else self._encoded()
        try:
            for packet in packets:
                packet.stream = self._stream
                shift = round(self._origin / packet.time_base)
                packet.pts, packet.dts = (None if time is None else time - shift for time in (packet.pts, packet.dts))
                yield packet
        except errors.FFmpegError as error:
            log.warning("%s: its sound ends early: %s", self._path, said(error))

    def _copies(self) -> Iterator[Any]:
        last: int | None = None
        for packet in self._demuxed():
            if packet.size and packet.dts is not None and (last is None or packet.dts > last):
                last = packet.dts  # sound that outlasts its part of the video goes on into the next
                yield packet

    def _encoded(self) -> Iterator[Any]:
        for packet in self._demuxed():
            for frame in packet.decode():
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _demuxed(self) -> Iterator[Any]:
        """Packets of the track; `_shown` follows the video's packets between them."""
        for packet in Timeline(self._container).packets():
            if packet.stream is self._track:
                yield packet
            elif packet.stream.type == "video" and packet.pts is not None:
                self._shown = max(self._shown, packet.pts * packet.time_base - self._origin)


def _start_of_video(path: Path) -> Fraction:
    try:
        with VideoReader(path) as reader:
            return reader.start
    except UnreadableVideo:
        return Fraction(0)

"""One rising timeline for files whose time stamps start over, such as a recorder's joined parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from streetlab.inference.video.source import BROADCAST, pyav

_BACK = Fraction(1, 4)
"""Seconds that the time stamps of a track may step back before they count as starting over; in a transport stream it
is a single step."""
_FORTH = Fraction(10)
"""Seconds that they may step ahead in a transport stream: FFmpeg's own `dts_delta_threshold`. A step back below the
first time stamp looks like one ahead, since FFmpeg takes it for the clock of 33 bits that ran over."""
_FORTH_OF_OLD = Fraction(1)
"""The same, of a track whose last time stamp is of an earlier part than the video's."""
_HELD = 5
"""Seconds of sound that wait for the video to start over as well."""


@dataclass
class _Track:
    """A track's place in the file; times in seconds.

    Attributes:
        part: which of the parts its last packet was of.
        last: the time stamp of that packet as the file has it; None before the first.
        step: between the last two.
        end: of its packets so far, in the one time.
        held: packets of which it is not known yet whether they start a part.
    """

    part: int = 0
    last: Fraction | None = None
    step: Fraction = Fraction(0)
    end: Fraction = Fraction(0)
    held: list[Any] = field(default_factory=list)


class Timeline:
    """Gives all packets of a file rising times, the same whenever the file is read.

    Where the time stamps of the video start over, those of it and of the sound are moved by one and the same time, so
    that the next part follows the last frame of the part before.

    Args:
        container: an `av` input container that nothing was read of.

    Attributes:
        restarts: where a part was put behind another, in seconds of the one time; grows while packets are read.
    """

    def __init__(self, container: Any) -> None:
        attached = pyav().stream.Disposition.attached_pic
        self._container = container
        self._video = next((s for s in container.streams.video if not s.disposition & attached), None)
        self._broadcast = container.format.name in BROADCAST
        self._tracks: dict[int, _Track] = {}
        self._offsets = [Fraction(0)]
        self.restarts: list[Fraction] = []

    def packets(self) -> Iterator[Any]:
        """The packets in the order of the file; their `pts` and `dts` are moved."""
        for packet in self._container.demux():
            if not packet.size:  # the end of the file
                yield from self._released()
            yield from self._placed(packet)

    def _placed(self, packet: Any) -> Iterator[Any]:
        raw = _time(packet)
        if raw is None or packet.stream.type not in ("video", "audio"):
            yield packet
            return
        track = self._tracks.setdefault(packet.stream.index, _Track(len(self._offsets) - 1))
        leads = self._video is None or packet.stream is self._video
        if track.held or (self._leaps(track, raw) and not leads and track.part == len(self._offsets) - 1):
            track.held.append(packet)
            if not 0 <= raw - (_time(track.held[0]) or raw) <= _HELD:
                yield from self._released()
            return
        if self._leaps(track, raw):
            if track.part == len(self._offsets) - 1:
                self._begin(track, packet)
                yield self._moved(track, packet)
                yield from self._released()
                return
            track.part = len(self._offsets) - 1
        yield self._moved(track, packet)

    def _leaps(self, track: _Track, raw: Fraction) -> bool:
        if track.last is None:
            return False
        if raw < track.last - (track.step if self._broadcast and track.step else _BACK):
            return True
        if track.part < len(self._offsets) - 1:
            return raw > track.last + max(_FORTH_OF_OLD, 2 * track.step)
        return self._broadcast and track.step > 0 and raw > track.last + max(_FORTH, 10 * track.step)

    def _begin(self, track: _Track, packet: object) -> None:
        start = _time(packet, shown=True)
        assert start is not None
        self._offsets.append(track.end - start)
        self.restarts.append(track.end)
        track.part = len(self._offsets) - 1

    def _released(self) -> Iterator[Any]:
        """Yield the packets held back: of the part that the video has begun, or of sound that pauses alone."""
        for track in self._tracks.values():
            held, track.held = track.held, []
            if held and track.part < len(self._offsets) - 1:
                track.part = len(self._offsets) - 1
            elif held and track.last is not None and (_time(held[0]) or track.last) < track.last:
                self._begin(track, held[0])
            for packet in held:
                yield self._moved(track, packet)

    def _moved(self, track: _Track, packet: Any) -> Any:
        raw, shown, offset = _time(packet), _time(packet, shown=True), self._offsets[track.part]
        assert raw is not None
        assert shown is not None
        if track.last is not None and raw > track.last:
            track.step = raw - track.last
        track.last = raw
        length = packet.duration * packet.time_base if packet.duration else track.step
        track.end = max(track.end, shown + offset + length)
        if offset:
            shift = round(offset / packet.time_base)
            packet.pts, packet.dts = (None if time is None else time + shift for time in (packet.pts, packet.dts))
        return packet


def _time(packet: Any, shown: bool = False) -> Fraction | None:
    """The file's time of a packet's decoding, or showing, in seconds; None where it gives none."""
    first, second = (packet.pts, packet.dts) if shown else (packet.dts, packet.pts)
    ticks = second if first is None else first
    return None if ticks is None or not packet.time_base else ticks * packet.time_base

"""Frames of videos as photos: one every so many seconds, or every so many metres of the track."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from streetlab.datasets.places import time_text
from streetlab.errors import UserError
from streetlab.inference.sources import Item
from streetlab.io import files
from streetlab.survey.options import Every
from streetlab.survey.tracks import Track

if TYPE_CHECKING:
    from streetlab.inference.video.reader import Frame

_QUALITY = 95
_LIST = "frames.json"


@dataclass(frozen=True)
class Sampled:
    """A frame of a video as a photo, and its time in ISO 8601; empty where the video has none."""

    item: Item
    time: str


def sample_frames(
    video: Item, folder: Path, every: Every, start: datetime | None, clock_offset: float, track: Track | None
) -> list[Sampled]:
    """Write the frames of a video as photos called `<video>#<seconds>`; those of an earlier call are kept.

    Args:
        folder: of the frames of this video alone.
        every: seconds between frames, or metres of the track; then only frames on the track are taken.
        start: the time of the first frame; None: the time of creation that the file gives.
        clock_offset: seconds between this time and that of the track; the frames' times are without it.

    Raises:
        UserError: a video that cannot be read, or without a time where the track is to place its frames.
    """
    from streetlab.inference.video.reader import VideoReader

    first = start or _creation_time(video.path)
    if every.unit == "m" and (first is None or track is None):
        missing = "a track=" if track is None else f"the time of its first frame; give start=, {video.file} has none"
        raise UserError(f"every: frames every {every.step:g} m need {missing}")
    on_track = None if first is None else first + timedelta(seconds=clock_offset)
    request = {
        "bytes": video.bytes, "modified": video.modified, "every": [every.step, every.unit],
        "first": None if on_track is None or every.unit == "s" else on_track.isoformat(),
        "track": None if track is None or every.unit == "s" else files.text_sha256(repr(track.metres.tolist())),
    }  # fmt: skip
    times = _earlier(folder, request)
    if times is None:
        shutil.rmtree(folder, ignore_errors=True)
        times = []
        with VideoReader(video.path) as reader:
            for number, frame in _chosen(reader, every, on_track, track):
                files.write_bytes(folder / _file(number), _jpeg(frame.pixels))
                times.append(number)
        files.write_json(folder / _LIST, {"request": request, "times": times})
    return [_sampled(video, folder / _file(number), number, first) for number in times]


def _chosen(
    frames: Iterable[Frame], every: Every, first: datetime | None, track: Track | None
) -> Iterator[tuple[int, Frame]]:
    """Yield the milliseconds and the frame of each that is due."""
    due = 0.0
    for frame in frames:
        reached = frame.time
        if every.unit == "m" and first is not None and track is not None:
            position = track.at(np.array([first.timestamp() + frame.time]))
            reached = float(position.metres[0])
            if math.isnan(reached):
                continue
        if reached + 1e-6 >= due:
            due = (math.floor(reached / every.step + 1e-6) + 1) * every.step
            yield round(frame.time * 1000), frame


def _sampled(video: Item, path: Path, milliseconds: int, first: datetime | None) -> Sampled:
    os.utime(path, ns=(video.modified, video.modified))  # taken out again it is the same frame
    name = f"{video.file}#{milliseconds / 1000:.3f}"
    item = Item(path.resolve(), name, "photo", path.stat().st_size, path.stat().st_mtime_ns)
    return Sampled(item, "" if first is None else time_text(first + timedelta(milliseconds=milliseconds)))


def _earlier(folder: Path, request: dict[str, object]) -> list[int] | None:
    """The milliseconds of the frames that an earlier call has written; None where they are to be written."""
    try:
        before = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        if before["request"] == request and all((folder / _file(number)).is_file() for number in before["times"]):
            return list(before["times"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _file(milliseconds: int) -> str:
    return f"{milliseconds:09d}.jpg"


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _creation_time(path: Path) -> datetime | None:
    """The time of creation in a video's metadata, which is in UTC; None where it has none."""
    from streetlab.inference.video.source import open_source

    container = open_source(path)
    try:
        text = {key.lower(): value for key, value in container.metadata.items()}.get("creation_time", "")
    finally:
        container.close()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""Open files that may hold a video: containers from a list, local files only, errors in one line."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from streetlab.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

FORMATS = "mov,matroska,webm,avi,gif,mpegts,mpeg,flv,asf,ogg"
"""FFmpeg's names of the containers that are opened; playlists, which name other files, are not among them."""


BROADCAST = {"mpegts", "mpeg"}
"""Those that count time by a clock of 33 bits, of which a part need not go on where the one before ended."""
_LONGEST_CLOCK = 2**32 / 90_000
"""Half the period of that clock, in seconds."""


_SYNC, _TS_PACKETS = 0x47, ((188, 0), (192, 4), (204, 0))
"""The first byte of a packet of a transport stream; lengths of packets, and where in them it stands."""
_TAIL = 4096


class UnreadableVideo(UserError):  # noqa: N818  (named for the file)
    """A file without a single readable frame."""


def pyav() -> ModuleType:
    """The module `av`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV: pip install 'streetlab[video]'") from error
    return av


def open_source(path: Path, most_pixels: int | None = None) -> Any:
    """An `av` input container of a local file, whatever its name looks like.

    Args:
        most_pixels: frames of more than twice as many are not decoded, neither here nor later.

    Raises:
        UnreadableVideo: there is no such file, or it is not of a known container.
    """
    av = pyav()
    limits = {} if most_pixels is None else {"max_pixels": str(2 * most_pixels)}  # sides are padded within a codec
    try:
        container = av.open(
            f"file:{path}",
            options=limits,
            # without all tables, sound that begins late in a transport stream would not be known
            container_options={"protocol_whitelist": "file", "format_whitelist": FORMATS, "scan_all_pmts": "1"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise UnreadableVideo(f"{path} is not a video that can be read: {_cause(path, error)}") from error
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = limits
    return container


def announced_seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """The length of the video that the file itself gives; None where it gives none."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return Fraction(stream.frames) / stream.average_rate  # its duration is counted anew where the end is missing
    if container.format.name in BROADCAST and (container.duration or 0) / 1_000_000 > _LONGEST_CLOCK:
        return None  # its clock stepped back, which FFmpeg takes for one that ran over
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration, 1_000_000) if container.duration else None


def is_short(reached: Fraction, announced: Fraction | None) -> bool:
    """Tell whether the seconds reached fall so far short of those announced that the end must be missing."""
    return announced is not None and reached < announced - max(Fraction(1, 4), announced / 50)


def cut_off(path: Path, container: InputContainer) -> str | None:
    """Tell what is missing at the end of a file whose container announces no length; None where nothing is known to be.

    A GIF ends with a trailer (GIF89a specification, section 27). A transport stream consists of packets of one length
    (ISO/IEC 13818-1: 188 bytes, with a time code 192, with error correction 204), and has no other end.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if container.format.name == "gif":
            file.seek(-min(size, _TAIL), os.SEEK_END)
            return None if file.read().rstrip(b"\0").endswith(b";") else "its trailer is missing"
        if container.format.name == "mpegts":
            head = file.read(_TAIL)
            for length, sync in _TS_PACKETS:
                if size >= length and set(head[sync::length]) == {_SYNC}:
                    over = size % length
                    file.seek(size - over - length)
                    whole, part = file.read(length), file.read()
                    cut = whole[sync] == _SYNC and over > 0 and (over <= sync or part[sync] == _SYNC)
                    return "its last packet is cut off" if cut else None
    return None


def said(error: Exception) -> str:
    """Return the text of an error of FFmpeg, without its number and the file's name."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _cause(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as fault:
        return fault.strerror or str(fault)
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        return f"{said(error)} (an MP4 without its index, as of a recording that was cut off?)"
    return said(error)

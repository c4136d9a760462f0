"""Take files in from strangers: stream them into files that we name, detect their format, check them before any work.

A photo is decoded in full here, so that a damaged one is refused at once, and again when its job runs (`jobs.photo`):
in between it may wait behind a whole queue, and the pixels of all that wait would not fit in memory. Of animations
(GIF, APNG, WebP) and pictures of several pages the first is taken, which bounds endless ones; what moves is uploaded as
a video. No upload is ever served as it came: results are encoded anew, so that a file that is also a web page or an
archive stays harmless.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import anyio
from PIL import Image, UnidentifiedImageError

from streetlab.app.jobs.job import Size
from streetlab.app.media.storage import Storage
from streetlab.app.settings import Settings
from streetlab.datasets.content import HEAD_BYTES, INSTALL_HEIF, Kind, format_of, heif_readable, needs_extra
from streetlab.datasets.decode import UnreadablePhoto, read_photo
from streetlab.errors import UserError, first_line

log = logging.getLogger(__name__)

PHOTO_FORMATS = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WEBP",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "GIF": "GIF",
    "AVIF": "AVIF",
    "JPEG 2000": "JPEG2000",
    "HEIC": "HEIF",
    "HEIF": "HEIF",
}
"""Our detector's names → Pillow's; JPEG brings MPO along, the pairs of pictures of some cameras."""
VIDEO_FORMATS = ("MP4", "MOV", "WebM", "MKV", "AVI")
"""As people call them; MOV is told as MP4 and WebM as MKV, see `format_of`."""
_OTHER_STARTS = {
    b"%PDF": "PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip",
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a playlist",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"<!doctype html": "HTML",
    b"<html": "HTML",
}
_TEXT_BYTES = 64
"""Enough to tell text from binary data."""
_checks = anyio.CapacityLimiter(2)
"""At most so many files are decoded at a time: each may take some hundred megabytes."""
_check_of: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
"""Held by a visitor's check: one visitor with many files leaves room for those of others."""


class Refused(UserError):  # noqa: N818  (what it is, not what went wrong)
    """An upload that is refused with the HTTP status `status`."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def videos_readable() -> bool:
    """True if the package that reads videos is installed."""
    return importlib.util.find_spec("av") is not None


def formats() -> list[str]:
    """The allowed formats, for messages and the page."""
    photos = (name for name, pillows in PHOTO_FORMATS.items() if pillows != "HEIF" or heif_readable())
    return [*photos, *(VIDEO_FORMATS if videos_readable() else ())]


async def take_in(body: AsyncIterator[bytes], storage: Storage) -> Path:
    """Write a body to a new upload in `storage`, held once; one chunk at a time is in memory.

    Raises:
        Refused: 400 the body is empty.
        StorageFull: no room for it. In both cases, and if the body breaks off, no file is left.
    """
    path = storage.new_upload()
    try:
        empty = True
        async with await anyio.open_file(path, "xb") as file:
            async for chunk in body:
                storage.charge(path, len(chunk))
                await file.write(chunk)
                empty = empty and not chunk
        if empty:
            raise Refused(400, "no file: send its bytes as the body, or name an earlier job with source=")
    except BaseException:
        storage.release(path)
        raise
    return path


async def check(path: Path, settings: Settings, visitor: str = "") -> tuple[Kind, Size]:
    """Check an upload in a thread, one of each visitor at a time; return its kind and what it decodes to.

    Raises:
        Refused: 415 no allowed format, 413 too many pixels or frames, 422 it does not decode.
    """
    lock = _check_of.get(visitor)
    if lock is None:
        lock = _check_of[visitor] = anyio.Lock()
    async with lock:
        return await anyio.to_thread.run_sync(_checked, path, settings, limiter=_checks)


def check_file(path: Path, settings: Settings) -> Kind:
    """Check an upload, as `check` does, in this thread; return its kind."""
    return _checked(path, settings)[0]


def _checked(path: Path, settings: Settings) -> tuple[Kind, Size]:
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    size = _check_photo(path, settings.pixels) if kind == "photo" else _check_video(path, settings)
    if size.total > settings.visitor_pixels:
        raise Refused(
            413,
            f"about {size.frames} frames of {size.pixels / 1e6:.4g} megapixels are {size.total / 1e6:,.0f} megapixels "
            f"in all, but {settings.visitor_pixels / 1e6:,.0f} are the most of one visitor here; send a shorter or "
            "smaller video",
        )
    return kind, size


def kind_of(head: bytes) -> Kind:
    """Photo or video by a file's first bytes, if the format is allowed here.

    The detector knows more formats than strangers may send: `PHOTO_FORMATS` and `VIDEO_FORMATS` are the allow-list.
    Playlists and other files that point at further files are refused here, before a video library opens them.

    Raises:
        Refused: 415 another format.
    """
    detected = format_of(head)
    if needs_extra(head):
        raise Refused(415, f"{detected} photos cannot be read here: {INSTALL_HEIF}")
    if detected in PHOTO_FORMATS or head.startswith(b"BM"):  # some BMPs fill the reserved bytes; decoding decides
        return "photo"
    if detected in VIDEO_FORMATS:
        if not videos_readable():
            raise Refused(415, "videos cannot be read here: pip install 'streetlab[video]'")
        return "video"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    known = (name for sign, name in _OTHER_STARTS.items() if text.startswith(sign.lower()))
    name = detected or next(known, "text" if _is_text(head[:_TEXT_BYTES]) else "of an unknown kind")
    raise Refused(415, f"not a photo or video that is taken here ({name}); allowed by content: {', '.join(formats())}")


def _is_text(start: bytes) -> bool:
    return start.decode(errors="ignore").replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable()


def _check_photo(path: Path, pixels: int) -> Size:
    try:
        with Image.open(path, formats=tuple(PHOTO_FORMATS.values())) as opened:
            width, height = opened.size
        if width * height > pixels:
            raise _too_many_pixels(width, height, pixels)
        read_photo(path, most_pixels=pixels)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(422, "the photo does not decode: its header is damaged") from None
    except UnreadablePhoto as fault:
        raise Refused(422, f"the photo {first_line(fault).removeprefix(f'{path}: ')}") from None
    except Exception as fault:  # Pillow's readers raise any on damaged files
        raise Refused(422, f"the photo does not decode ({type(fault).__name__})") from None
    return Size(width * height)


def _check_video(path: Path, settings: Settings) -> Size:
    from streetlab.inference.video.reader import probe
    from streetlab.inference.video.source import UnreadableVideo, open_source

    pixels = settings.most_of_frame
    try:
        with open_source(path, pixels) as container:
            sizes = [(stream.codec_context.width, stream.codec_context.height) for stream in _pictures(container)]
        for width, height in sizes:
            if width * height > pixels:
                raise _too_many_pixels(width, height, pixels)
        info = probe(path, pixels)
    except Refused:
        raise
    except UnreadableVideo as fault:
        raise Refused(422, first_line(fault).replace(f"{path}: ", "").replace(str(path), "the video")) from None
    except Exception as fault:
        log.warning("the check of a video failed", exc_info=True)
        raise Refused(422, f"the video does not decode ({type(fault).__name__})") from None
    if info.frames is not None and info.frames > settings.video_frames:
        raise Refused(413, f"about {info.frames} frames, but {settings.video_frames} are the most allowed here")
    size = info.width * info.height
    return Size(size, info.frames or most_frames(size, settings))


def most_frames(pixels: int, settings: Settings) -> int:
    """The most frames of so many pixels that are read of one video."""
    return max(1, min(settings.video_frames, settings.visitor_pixels // max(1, pixels)))


def _pictures(container: Any) -> list[Any]:
    return [stream for stream in container.streams.video if stream.codec_context is not None]


def _too_many_pixels(width: int, height: int, pixels: int) -> Refused:
    return Refused(413, f"{width} × {height} pixels, but {pixels / 1e6:.4g} megapixels are the most allowed here")


_LONGEST_NAME = 120


def display_name(raw: str, kind: str) -> str:
    """Clean a visitor's name for a file: the last part of a path, without control and direction characters.

    >>> display_name("../../etc/passwd", "photo")
    'passwd'
    """
    last = re.split(r"[/\\]", raw)[-1]
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C")
    shown = " ".join(shown.split())
    if len(shown) > _LONGEST_NAME:
        stem, dot, suffix = shown.rpartition(".")
        short = 0 < len(suffix) <= 5 and bool(dot)
        shown = f"{stem[: _LONGEST_NAME - 7]}….{suffix}" if short else f"{shown[: _LONGEST_NAME - 1]}…"
    return kind if shown in ("", ".", "..") else shown

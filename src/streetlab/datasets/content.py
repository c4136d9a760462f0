"""Detect photos and videos by their first bytes, and count the files that are neither."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["photo", "video"]

HEAD_BYTES = 512
"""How many of a file's first bytes `format_of` needs."""

# the signatures that the formats' own specifications begin with
_PHOTOS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM....\x00{4}",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "WEBP": rb"RIFF....WEBP",
    "PNM": rb"P[1-6]\s+[\d#]",
    "JPEG 2000": rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "AVIF": rb"....ftyp(?:avif|avis|(?:hei[cxms]|hev[cx]|mif1|msf1).{0,48}avif)",  # AVIF may name the family first
    "HEIC": rb"....ftyp(?:hei[cxms]|hev[cx])",
    "HEIF": rb"....ftyp(?:mif1|msf1)",
}
_VIDEOS = {
    "MP4": rb"....(?:ftyp(?!M4[AB])|moov|mdat|wide|free|skip)",
    "MKV": rb"\x1a\x45\xdf\xa3",
    "AVI": rb"RIFF....AVI ",
    "FLV": rb"FLV\x01",
    "MPEG": rb"\x00\x00\x01[\xb3\xba]|\x47.{187}\x47|.{4}\x47.{191}\x47",
}
_UNREAD = {"JPEG XL": rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"}
"""Photos that no package at hand reads within our limits; docs/start/photos.md says why."""
_FORMATS = {name: re.compile(signature, re.DOTALL) for name, signature in (_PHOTOS | _VIDEOS | _UNREAD).items()}


def format_of(head: bytes) -> str | None:
    """The format of a file that begins with these bytes (`HEAD_BYTES` of them); None for an unknown one.

    MP4 stands for MOV too, MKV for WebM. Formats that hold sound as well as videos (Ogg, ASF) are unknown.
    """
    return next((name for name, signature in _FORMATS.items() if signature.match(head)), None)


def kind_of(head: bytes) -> Kind | None:
    """Photo or video, by the same bytes; None for neither, and for photos that cannot be read.

    A GIF is a photo: its first picture counts.
    """
    name = format_of(head)
    if name is None or name in _UNREAD:
        return None
    return "photo" if name in _PHOTOS else "video"


PHOTO_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff",
                  ".ppm", ".pgm", ".jp2", ".avif"}  # fmt: skip
"""Names that promise a photo: such files are taken without a look inside, and decoding says whether they hold one."""
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
"""Names that promise a photo too, but are believed only by a look inside, since reading one takes a package."""
INSTALL_HEIF = "pip install 'streetlab[photos]'"
_RAW_SUFFIXES = {".dng", ".cr2", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".pef", ".srw"}
"""Camera raw: most are TIFFs by their first bytes, of which Pillow would read the thumbnail."""

NO_IMAGE = "no image by the bytes"
VIDEO = "a video"
NEEDS_EXTRA = "in a format that needs an extra (HEIC or camera raw)"
UNREAD = "in a format that is not read (JPEG XL)"
HIDDEN = "hidden or the system's"
UNREADABLE = "unreadable"
NO_CLASS = "in no class folder"
NO_SPLIT = "in a folder that is no split"
LOSSY = "a mask in a lossy format"


@dataclass
class PassedOver:
    """Files that a scan did not take, counted by reason, each reason with its first file by name."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: Path | str) -> None:
        """Count a file."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first[reason] = min(self.first.get(reason, str(path)), str(path))  # the system lists files in any order

    @property
    def loses_photos(self) -> bool:
        """True if some of the files may be photos that the user wanted."""
        return not self.counts.keys() <= {NO_IMAGE, VIDEO, HIDDEN}

    def sentence(self) -> str:
        """`12 files were not taken: 10 unreadable, first a/1.jpg; 2 ...`; empty where all were."""
        if not self.counts:
            return ""
        total = sum(self.counts.values())
        ordered = sorted(self.counts, key=lambda reason: (-self.counts[reason], reason))
        parts = [f"{self.counts[reason]} {reason}, first {self.first[reason]}" for reason in ordered]
        return f"{total} file{'s were' if total != 1 else ' was'} not taken: {'; '.join(parts)}"


def reason_to_pass(path: Path) -> str | None:
    """The reason to pass over a file that cannot be read as a photo; None where it can.

    A name with a photo's suffix is believed; any other file is opened, and its first bytes decide.
    """
    suffix = path.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return None
    if suffix in _RAW_SUFFIXES:
        return NEEDS_EXTRA
    try:
        if not path.is_file():  # a pipe would keep its reader waiting; a link to nothing cannot be read
            return UNREADABLE
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return UNREADABLE
    if needs_extra(head):
        return NEEDS_EXTRA
    if is_unread(head):
        return UNREAD
    return {"photo": None, "video": VIDEO, None: NO_IMAGE}[kind_of(head)]


def needs_extra(head: bytes) -> bool:
    """Recognise a HEIC photo by its first bytes where the package that reads it is not installed."""
    return is_heif(head) and not heif_readable()


def is_unread(head: bytes) -> bool:
    """Recognise by its first bytes a photo in a format that is not read."""
    return format_of(head) in _UNREAD


def is_heif(head: bytes) -> bool:
    """Recognise a HEIC or HEIF photo by its first bytes."""
    return format_of(head) in ("HEIC", "HEIF")


def heif_readable() -> bool:
    """True if the package that reads HEIC photos is installed."""
    return importlib.util.find_spec("pillow_heif") is not None

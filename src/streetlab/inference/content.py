"""Photo or video, told by a file's first bytes: its name may say anything."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["photo", "video"]

HEAD_BYTES = 512
"""How many of a file's first bytes `kind_of` wants."""

# the signatures that the formats' own specifications begin with
_PHOTOS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM....\x00{4}|II\*\x00|MM\x00\*|RIFF....WEBP|P[1-6]\s+[\d#]"
    rb"|\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|....ftyp(?:avif|avis|heic|heix|mif1|msf1)",
    re.DOTALL,
)
_VIDEOS = re.compile(
    rb"....(?:ftyp(?!M4[AB])|moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01"
    rb"|\x00\x00\x01[\xb3\xba]|\x47.{187}\x47|.{4}\x47.{191}\x47",
    re.DOTALL,
)


def kind_of(head: bytes) -> Kind | None:
    """What a file holds that begins with these bytes (`HEAD_BYTES` of them); None where it is neither.

    A GIF is a photo: its first picture counts. Formats that hold sound as well as videos (Ogg, ASF) are neither.
    """
    if _PHOTOS.match(head):
        return "photo"
    return "video" if _VIDEOS.match(head) else None

"""Write a zip archive as a stream: each member is read or made in its turn, and nothing is kept."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHUNK = 256 * 1024
_COMPRESSED_ALREADY = (".png", ".jpg", ".webm", ".mp4")
_PERMISSIONS = 0o644 << 16
_REGULAR_FILE = 0o100000 << 16


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Args:
        name: inside the archive.
        source: its file, its bytes, or a function that makes them when they are needed.
    """

    name: str
    source: Path | bytes | Callable[[], bytes]

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in pieces."""
        if isinstance(self.source, Path):
            with self.source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        else:
            yield self.source if isinstance(self.source, bytes) else self.source()


def zip_stream(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the archive's bytes; pictures and videos are stored, other files deflated.

    Raises:
        OSError: a file no longer exists in its turn; the archive sent so far is incomplete.
    """
    outbox = _Outbox()
    now = time.localtime()[:6]
    with zipfile.ZipFile(outbox, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name, now)
            stored = member.name.lower().endswith(_COMPRESSED_ALREADY)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            info.external_attr = _REGULAR_FILE | _PERMISSIONS
            if isinstance(member.source, Path):
                info.file_size = member.source.stat().st_size  # beyond 2 GiB the header is another
            with archive.open(info, "w") as entry:
                for chunk in member.chunks():
                    entry.write(chunk)
                    yield from outbox.take()
            yield from outbox.take()
    yield from outbox.take()


class _Outbox(io.RawIOBase):
    """A buffer that the archive writes to and that cannot seek."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def take(self) -> Iterator[bytes]:
        waiting, self._waiting = self._waiting, []
        yield from waiting

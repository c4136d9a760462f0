"""Files inside zip archives, read in place: the official downloads of some data sets need no unpacking."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from streetlab.errors import UserError
from streetlab.io.filenames import as_text

_FAULTS = (BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError, ValueError)
"""What `zipfile` raises for damage, a member that is not there, encryption and unknown compression."""

_LOCAL = threading.local()


@dataclass(frozen=True)
class ZipMember:
    """A file inside a zip archive, readable like a path.

    Args:
        archive: the zip.
        name: the member's path inside it.
    """

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive.name}!{self.name}"

    def open(self) -> io.BytesIO:
        """Open the member's bytes as a seekable stream; many threads may do so at once.

        Raises:
            OSError: no such archive, or one that is damaged.
        """
        try:
            return io.BytesIO(_opened(self.archive).read(self.name))
        except _FAULTS as error:
            raise OSError(f"the zip {self.archive} is damaged: {_reason(error)}") from None

    def fingerprint(self) -> str:
        """Changes whenever the bytes may have changed; reads the archive's table of contents at most, never fails."""
        try:
            status = self.archive.stat()
            info = _opened(self.archive).getinfo(self.name)
        except FileNotFoundError:
            return as_text(f"{self.archive}!{self.name}:missing")
        except (OSError, *_FAULTS):
            return as_text(f"{self.archive}!{self.name}:closed")
        of_archive = f"{self.archive.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        return as_text(f"{of_archive}!{self.name}:{info.CRC:08x}:{info.file_size}")

    def content_hash(self) -> str:
        """SHA-256 of the bytes, in hex. Raises OSError as `open` does."""
        return hashlib.file_digest(self.open(), "sha256").hexdigest()


File = Path | ZipMember
"""Where an image or a mask lies."""


def zip_names(archive: Path, key: str) -> list[str]:
    """List the names of the files in an archive, in its order.

    Args:
        key: the config key that the archive follows from, for the error message.

    Raises:
        UserError: it cannot be read, or is no zip.
    """
    try:
        return [info.filename for info in _opened(archive).infolist() if not info.is_dir()]
    except _FAULTS as error:
        raise UserError(f"{key}: {archive} is damaged or no zip ({_reason(error)}); download it again") from None
    except OSError as error:
        raise UserError(f"{key}: cannot read {archive} ({error.strerror or error})") from None


def _opened(archive: Path) -> ZipFile:
    """Open this thread's own `ZipFile`: one shared by threads counts its readers without a lock.

    It is opened anew when the archive has changed, and in a forked process, where the parent's file position
    would be shared.
    """
    status = archive.stat()
    stamp = (status.st_size, status.st_mtime_ns, os.getpid())
    opened: dict[Path, tuple[tuple[int, int, int], ZipFile]] = _LOCAL.__dict__.setdefault("opened", {})
    if archive not in opened or opened[archive][0] != stamp:
        opened.pop(archive, None)
        opened[archive] = (stamp, ZipFile(archive))
    return opened[archive][1]


def _reason(error: BaseException) -> str:
    return " ".join(str(error.args[0] if error.args else error).split()) or type(error).__name__

"""Shared code of data sets in files: hashes of their contents and a check that a tree does not change."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from streetlab.datasets.decode import UnreadablePhoto
from streetlab.errors import UserError
from streetlab.io.archive import File, ZipMember
from streetlab.io.filenames import as_text
from streetlab.io.files import file_sha256


def fingerprint(file: File) -> str:
    """Fingerprint that changes whenever the file's bytes may have changed; never fails."""
    if isinstance(file, ZipMember):
        return file.fingerprint()
    try:
        status = file.stat()
    except OSError:  # a link to nothing: reading it will say so
        return as_text(f"{file}:missing")
    if not os.access(file, os.R_OK):
        return as_text(f"{file}:closed")
    # the change time too: a copy with its times preserved has the old modification time
    path = f"{_resolved(str(file.parent))}/{file.name}"
    return as_text(f"{path}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}")


def changed_at(file: File) -> float:
    """Time of a file's last change, in seconds since 1970; infinity where it cannot be read."""
    try:
        status = (file.archive if isinstance(file, ZipMember) else file).stat()
    except OSError:
        return float("inf")
    return max(status.st_mtime, status.st_ctime)


@functools.lru_cache(maxsize=4096)
def _resolved(folder: str) -> str:
    """A folder without links in its path, looked up once for all files in it."""
    return os.path.realpath(folder)


def content_hash(file: File) -> str:
    """SHA-256 of the file's bytes, in hex. Raises `UnreadablePhoto` where they cannot be read."""
    try:
        return file.content_hash() if isinstance(file, ZipMember) else file_sha256(file)
    except OSError as error:
        raise UnreadablePhoto(f"{file}: cannot be read ({error.strerror or error})") from None


def refuse_cache_below(root: Path, cache_dir: Path) -> None:
    """Raise a UserError if the cache would be under the data."""
    if cache_dir.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"dataset.cache_dir: {cache_dir} lies under the photos in {root}, which are never "
            "written to; give another with dataset.cache_dir=DIR"
        )

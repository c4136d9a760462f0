"""What data sets of files share: which bytes a file holds, cheaply and surely, and trees that stay as they are."""

from __future__ import annotations

import os
from pathlib import Path

from streetlab.data.archive import File, ZipMember
from streetlab.data.decode import UnreadablePhoto
from streetlab.data.index import split as splits
from streetlab.errors import UserError
from streetlab.filenames import as_text


def fingerprint(file: File) -> str:
    """Changes whenever the file's bytes may have changed; never fails."""
    if isinstance(file, ZipMember):
        return file.fingerprint()
    try:
        status = file.stat()
    except OSError:  # a link to nothing: reading it will say so
        return as_text(f"{file}:missing")
    if not os.access(file, os.R_OK):  # neither size nor time changes once it may be read
        return as_text(f"{file}:closed")
    return as_text(f"{file.resolve()}:{status.st_size}:{status.st_mtime_ns}")


def content_hash(file: File) -> str:
    """SHA-256 of the file's bytes, in hex. Raises `UnreadablePhoto` where they cannot be read."""
    try:
        return file.content_hash() if isinstance(file, ZipMember) else splits.content_hash(file)
    except OSError as error:
        raise UnreadablePhoto(f"{file}: cannot be read ({error.strerror or error})") from None


def refuse_cache_below(root: Path, cache_dir: Path) -> None:
    """Raise a UserError where the cache would lie under the data."""
    if cache_dir.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"dataset.cache_dir: {cache_dir} lies under the photos in {root}, which are never "
            "written to; give another with dataset.cache_dir=DIR"
        )

"""Atomic writing: a file of the record is there in full or not at all, also after kill -9 or a full disk."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from streetlab.errors import UserError, chain, was_interrupted
from streetlab.io.filenames import ERRORS, encodable

_ELSEWHERE = "or choose another folder with output=DIR"
_ADVICE = {
    errno.ENOSPC: f"the disk is full: free some space {_ELSEWHERE}",
    errno.EDQUOT: f"the disk quota is used up: free some space {_ELSEWHERE}",
    errno.EROFS: f"the disk is read-only: remount it {_ELSEWHERE}",
    errno.EACCES: f"no permission to write there: change its permissions {_ELSEWHERE}",
    errno.EPERM: f"no permission to write there: change its permissions {_ELSEWHERE}",
    errno.ENOTDIR: f"a file stands where a folder is needed: move it {_ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder is needed: move it {_ELSEWHERE}",
    errno.EISDIR: f"a folder stands where the file is to go: move it {_ELSEWHERE}",
}


def write_bytes(path: Path, content: bytes | Callable[[BinaryIO], object]) -> Path:
    """Write `path` in one step: readers see the old file or the new one, never a half.

    Args:
        path: the file; missing parent folders are made.
        content: the bytes, or a function that writes them into the open binary file it is given.

    Raises:
        UserError: the file cannot be written; names the path, the cause and what to do.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105  (tests and readers look for the one atomic call)
    except OSError as error:
        raise cannot_write(path, error) from error
    except RuntimeError as error:  # PyTorch says something else of a full disk, and of Ctrl-C
        if (cause := disk_fault(error)) is not None:
            raise cannot_write(path, cause) from error
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)
    return path


def link(existing: Path, path: Path) -> None:
    """Make `path` another name of an existing file, in one step; a file system without hard links keeps both."""
    temporary = _temporary(path)
    try:
        with contextlib.suppress(OSError):
            os.link(existing, temporary)
            temporary.replace(path)  # does nothing where both are the same file already
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Delete what a killed process has begun to write below a folder. Nobody else may be writing there."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    # in the same folder, because os.replace is atomic only within one file system
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically; see `write_bytes`. Names that are not UTF-8 are escaped, see `filenames`."""
    return write_bytes(path, text.encode("utf-8", errors=ERRORS))


def write_json(path: Path, value: object) -> Path:
    """Write indented JSON atomically; see `json_text`."""
    return write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: object, indent: int | None = None) -> str:
    """Encode as JSON in UTF-8; NumPy values become Python's, NaN and infinities null.

    Names that are not UTF-8 are escaped, see `filenames`.
    """
    text = json.dumps(to_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda byte: "\\" + encodable(byte[0]), text)  # in JSON a backslash is two


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], fieldnames: Sequence[str]) -> Path:
    """Write rows under a header atomically; None and missing keys become empty cells.

    A key that is not in `fieldnames` is a ValueError, so that no column is lost in silence.
    """
    return write_text(path, csv_text(rows, fieldnames))


def csv_text(rows: Iterable[Mapping[str, Any]], fieldnames: Sequence[str]) -> str:
    """Encode rows under a header as `write_csv` does."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(CsvLines(buffer), fieldnames=list(fieldnames), restval="", lineterminator=CsvLines.END)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


class CsvLines:
    r"""File object for `csv.writer`: rows end in `\n` and every cell comes back as it was.

    The writer quotes a cell for the characters of its own line end alone, so that has to be `END`: a carriage return
    in a name would else break its row in two.

    Args:
        file: opened with `newline=""`.
    """

    END = "\r\n"

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        """Write one whole row."""
        return self._file.write(row.removesuffix(self.END) + "\n")


def file_sha256(path: Path) -> str:
    """Hash a file's bytes: SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """Hash a text in UTF-8, names as `write_text` writes them: SHA-256, in hex."""
    return hashlib.sha256(text.encode("utf-8", errors=ERRORS)).hexdigest()


def to_plain(value: object) -> Any:
    """Convert a value to JSON's types: NumPy → Python, tuples → lists, paths → strings, NaN → None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be written: its path, the cause and what to do."""
    return UserError(f"cannot write {path}: {_advice(error)}")


def disk_fault(error: BaseException) -> OSError | None:
    """Find the error of a disk that is full or read-only among an error and what led to it."""
    for link in chain(error):
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return link
    return None


def _advice(error: OSError) -> str:
    cause = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    return f"{cause}; {advice}" if advice else cause


def _sync_folder(folder: Path) -> None:
    """Sync the folder, where the system allows it, so that the rename survives a power cut."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Keep measurements in one SQLite file, so that an interrupted audit continues."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType

import numpy as np

from streetlab.audit.measures import COLUMNS, MEASURES_VERSION, Measured
from streetlab.datasets.source import make_cache_folder
from streetlab.errors import UserError
from streetlab.io.filenames import encodable

log = logging.getLogger(__name__)

FILE_NAME = "fingerprints.sqlite"

_HASH_NAMES = ("phash", "mirrored", "square")
_TYPES = {"thumbnail": "BLOB"} | dict.fromkeys((*_HASH_NAMES, "width", "height"), "INTEGER")
_TYPES |= dict.fromkeys(("sharpness", "brightness", "dark_share", "bright_share"), "REAL")
_TABLE = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS)
_HASHES = [COLUMNS.index(name) for name in _HASH_NAMES]
_ALL_BITS = (1 << 64) - 1
_AT_ONCE = 500
"""Keys in one query; older builds of SQLite allow 999."""
_COMMIT_SECONDS = 2.0
"""What a killed audit loses at most."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""Broken pages, another kind of file, a table of other columns; anything else is a fault of the disk."""


class Store:
    """Measured images by key, in a file below `folder`; use it in a `with` block.

    A file that is damaged is thrown away with a warning, one of other measures in silence.

    Raises:
        UserError: the file cannot be written, on opening or later.
    """

    def __init__(self, folder: Path) -> None:
        make_cache_folder(folder)
        self.path = folder / FILE_NAME
        self._committed = time.monotonic()
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            self._start_anew(error)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._commit()
        finally:
            self._connection.close()

    def read(self, keys: Sequence[str]) -> dict[str, Measured]:
        """Read the measurements stored for the keys."""
        found: dict[str, Measured] = {}
        try:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                for key, *values in self._connection.execute(
                    f"SELECT key, {', '.join(COLUMNS)} FROM images WHERE key IN ({marks})", some
                ):
                    for place in _HASHES:
                        values[place] &= _ALL_BITS
                    found[key] = Measured(*values)
        except (sqlite3.DatabaseError, TypeError) as error:
            self._start_anew(error)
            return {}
        return found

    def write(self, key: str, measured: Measured) -> None:
        """Store one image; it is on disk some seconds later, or when the block ends."""
        values = [encodable(value) if isinstance(value, str) else value for value in astuple(measured)]
        for place in _HASHES:
            values[place] = int(np.uint64(values[place]).astype(np.int64))  # SQLite's integers have a sign
        marks = ", ".join("?" * (len(values) + 1))
        try:
            self._connection.execute(f"INSERT OR REPLACE INTO images VALUES ({marks})", (key, *values))
        except sqlite3.DatabaseError as error:
            raise self._cannot_write(error) from None
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()

    def _connect(self) -> None:
        self._connection = sqlite3.connect(self.path, timeout=60)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != MEASURES_VERSION:
            self._connection.execute("DROP TABLE IF EXISTS images")
            self._connection.execute(f"PRAGMA user_version = {MEASURES_VERSION}")
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS images (key TEXT PRIMARY KEY, {_TABLE})")
        self._connection.commit()

    def _start_anew(self, error: Exception) -> None:
        """Delete the file where it is damaged; a UserError where it is sound but cannot be used."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # text that is none has no code
        if code & 0xFF not in _DAMAGED:
            raise self._cannot_write(error) from None
        log.warning("%s is damaged (%s): thrown away, every image is measured again", self.path, error)
        with contextlib.suppress(AttributeError):  # the first connection may not have come about
            self._connection.close()
        try:
            self.path.unlink(missing_ok=True)
            self.path.with_name(f"{FILE_NAME}-journal").unlink(missing_ok=True)
            self._connect()
        except (sqlite3.Error, OSError) as fault:
            raise self._cannot_write(fault) from None

    def _commit(self) -> None:
        try:
            self._connection.commit()
        except sqlite3.DatabaseError as error:
            raise self._cannot_write(error) from None
        self._committed = time.monotonic()

    def _cannot_write(self, error: Exception) -> UserError:
        return UserError(
            f"dataset.cache_dir: cannot write {self.path} ({error}); give another with dataset.cache_dir=DIR"
        )

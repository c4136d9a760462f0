"""Hash the contents of files once: a cache of SHA-256 by path, size and times, shared by all commands."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.files import changed_at, content_hash, fingerprint
from streetlab.io.archive import File
from streetlab.io.parallel import in_order
from streetlab.progress import track

log = logging.getLogger(__name__)

FILE_NAME = "hashes.sqlite"

_AT_ONCE = 500
"""Keys in one query; older builds of SQLite allow 999."""
_SETTLED_SECONDS = 2.0
"""A file that changed this recently may change again within one tick of its clock, so its hash is not kept."""


def content_hashes(files: Sequence[File], cache_dir: Path, label: str) -> list[str | None]:
    """Hash the bytes of each file, reading only those that are new or changed since they were last hashed.

    Args:
        files: in any order.
        cache_dir: the folder that keeps the hashes; where it cannot be written, every file is read.
        label: what the progress bar says.

    Returns:
        SHA-256 (hex) of each file; None where it cannot be read.
    """
    keys = [_key(file) for file in files]
    with _opened(cache_dir) as store:
        known: dict[bytes, str | None] = dict(_read(store, keys))
        new = {key: file for key, file in zip(keys, files, strict=True) if key not in known}
        if new:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                hashes = in_order(pool, _hash_or_none, list(new.values()))
                known |= zip(new, track(hashes, label, len(new)), strict=True)
            newest = time.time() - _SETTLED_SECONDS
            settled = [(key, known[key]) for key, file in new.items() if known[key] and changed_at(file) < newest]
            _write(store, settled)
    return [known[key] for key in keys]


def _hash_or_none(file: File) -> str | None:
    try:
        return content_hash(file)
    except UnreadablePhoto:
        return None


def _key(file: File) -> bytes:
    return hashlib.blake2b(os.fsencode(fingerprint(file)), digest_size=16).digest()


@contextmanager
def _opened(cache_dir: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the database; a damaged one is replaced. None where it cannot be made: it only saves time."""
    path = cache_dir / FILE_NAME
    store = None
    for _ in range(2):
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            store = sqlite3.connect(path, timeout=60)
            store.execute("CREATE TABLE IF NOT EXISTS hashes (key BLOB PRIMARY KEY, sha256 TEXT) WITHOUT ROWID")
            store.execute("SELECT key, sha256 FROM hashes LIMIT 1").fetchone()
            break
        except sqlite3.DatabaseError as error:
            log.info("%s is not used (%s)", path, error)
            if store is not None:
                store.close()
                store = None
            if isinstance(error, sqlite3.OperationalError):  # locked, read-only, a full disk: it may be sound
                break
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError as error:
            log.info("%s is not used (%s)", path, error)
            break
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def _read(store: sqlite3.Connection | None, keys: Sequence[bytes]) -> Iterator[tuple[bytes, str]]:
    if store is None:
        return
    with contextlib.suppress(sqlite3.DatabaseError):
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from store.execute(f"SELECT key, sha256 FROM hashes WHERE key IN ({marks})", some)


def _write(store: sqlite3.Connection | None, rows: Sequence[tuple[bytes, str | None]]) -> None:
    if store is None or not rows:
        return
    with contextlib.suppress(sqlite3.DatabaseError), store:
        store.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)

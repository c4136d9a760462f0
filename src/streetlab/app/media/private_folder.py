"""The private folder of a server, deleted with it; or by a later server, where the first one was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "streetlab-app-"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a temporary folder that we alone can read, for the length of the block.

    A server holds a lock on its folder, which ends with its process: folders without one are of servers that were
    killed, and hold visitors' photos, so that they are deleted first.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with _locked(left) as locked:
            if locked:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with _locked(folder) as locked:
            if not locked or not folder.exists():  # a server that starts now took it for one left over
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Try to lock a folder for the length of the block; the result tells whether it is."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or no folder
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = True
    except OSError:
        locked = False
    try:
        yield locked
    finally:
        os.close(descriptor)

"""The folder of a running server: locked while it lives, cleared when it ends, found again after it was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from streetlab.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing tells there whether a server is alive, so none is cleared
    fcntl = None  # type: ignore[assignment]

_PREFIX = "streetlab-app-"
_LOCK = "lock"
_PARTS = ("uploads", "jobs", "records")


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A fresh folder that only this user can read, deleted at the end; those of servers that were killed go first."""
    clear_dead(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


@contextlib.contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    """A folder of the user's choice: it is emptied at the end, but not by a kill, after which a server goes on with it.

    Raises:
        UserError: another server uses it, it holds files that are no server's, or it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        strange = sorted(path.name for path in folder.iterdir() if path.name.lstrip(".") not in (*_PARTS, _LOCK))
        if strange:
            raise UserError(f"folder: {folder} holds other files ('{strange[0]}'); name an empty or a new folder")
        if _is_alive(folder):
            raise UserError(f"folder: a running server uses {folder}; end it, or name another folder")
        lock = _locked(folder)
    except OSError as error:
        raise UserError(f"folder: {folder} cannot be used ({error.strerror or error})") from None
    try:
        yield folder
    finally:
        for name in _PARTS:
            shutil.rmtree(folder / name, ignore_errors=True)
        lock.close()
        (folder / _LOCK).unlink(missing_ok=True)


def clear_dead(parent: Path) -> int:
    """Delete the private folders of this user's servers that were killed; return how many there were."""
    count = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            ours = fcntl is not None and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if ours and (folder / _LOCK).is_file() and not _is_alive(folder):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    return count


def _locked(folder: Path) -> IO[bytes]:
    """Put a lock file into the folder that is locked before it has its name: without it, nobody takes us for dead."""
    draft = folder / f".{_LOCK}"
    file = draft.open("wb")
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    draft.replace(folder / _LOCK)
    return file


def _is_alive(folder: Path) -> bool:
    """True if a process holds the folder's lock; the system releases it when the process ends, however that is."""
    if fcntl is None:
        return False
    try:
        with (folder / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False

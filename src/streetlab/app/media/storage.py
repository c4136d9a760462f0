"""The private folder of a server, with reference counts and a size limit."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from streetlab.errors import UserError

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class StorageFull(UserError):  # noqa: N818  (what it is, not what went wrong)
    """Uploads and results have reached the size limit."""


def cannot_store(fault: BaseException) -> StorageFull | None:
    """What to tell a visitor where the disk of the storage is full or read-only; None for any other fault."""
    if isinstance(fault, OSError) and fault.errno in _OF_THE_DISK:
        return StorageFull(f"the server cannot store files: {os.strerror(fault.errno).lower()}")
    return None


class Storage:
    """Files under `folder`, all named by us; safe to use from any thread.

    Each path counts its holders (a job holds its folder and its upload; a job made from another holds that one's too)
    and is deleted when the last one releases it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._uploads, self._jobs = folder / "uploads", folder / "jobs"
        for subfolder in (self._uploads, self._jobs):
            subfolder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._holders: Counter[Path] = Counter()
        self._bytes: Counter[Path] = Counter()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes stored, as far as they have been measured."""
        with self._lock:
            return self._bytes.total()

    def new_upload(self) -> Path:
        """A path for an upload, held once; nothing is there yet."""
        path = self._uploads / secrets.token_urlsafe(18)
        self.hold(path)
        return path

    def new_folder(self, name: str) -> Path:
        """A fresh folder, held once."""
        folder = self._jobs / name
        folder.mkdir(mode=0o700)
        self.hold(folder)
        return folder

    def hold(self, *paths: Path) -> None:
        """Keep these until `release`."""
        with self._lock:
            self._holders.update(paths)

    def adopt(self, *paths: Path) -> None:
        """Hold files and folders of a server before, and count their bytes."""
        self.hold(*paths)
        for path in paths:
            self.measure(path)

    def clear(self) -> None:
        """Delete uploads and folders of a server before that nobody holds."""
        for path in (*self._uploads.iterdir(), *self._jobs.iterdir()):
            if self._holders[path] <= 0:
                _delete(path)

    def release(self, *paths: Path) -> None:
        """Release these; delete those that nobody holds any more."""
        with self._lock:
            self._holders.subtract(paths)
            unheld = [path for path in set(paths) if self._holders[path] <= 0]
            for path in unheld:
                del self._holders[path], self._bytes[path]
        for path in unheld:
            _delete(path)

    @contextlib.contextmanager
    def held(self, *paths: Path) -> Iterator[None]:
        """Hold these for the length of the block."""
        self.hold(*paths)
        try:
            yield
        finally:
            self.release(*paths)

    def charge(self, path: Path, count: int) -> None:
        """Count `count` more bytes for `path`.

        Raises:
            StorageFull: the limit would be passed; nothing is counted.
        """
        with self._lock:
            if self._bytes.total() + count > self.most_bytes:
                raise StorageFull(
                    f"the server's storage is full ({self.most_bytes / 1024**2:.0f} MiB); "
                    "delete photos or videos, or wait until others expire"
                )
            self._bytes[path] += count

    def measure(self, folder: Path) -> None:
        """Count the files of a folder, even beyond the limit; uploads are then refused until enough is deleted."""
        size = sum(path.stat().st_size for path in (folder, *folder.rglob("*")) if path.is_file())
        with self._lock:
            if self._holders[folder] > 0:
                self._bytes[folder] = size

    def empty(self, folder: Path) -> None:
        """Delete the contents of a folder, but not the folder."""
        for path in folder.iterdir() if folder.is_dir() else ():
            _delete(path)
        self.measure(folder)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

"""One process at a time writes a record: the lock of its folder, which ends with the process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streetlab.errors import UserError

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None  # type: ignore[assignment]

_held: dict[int, tuple[int, int]] = {}
"""The folders that this process holds: device and inode, by the open file."""


@contextmanager
def sole_writer(folder: Path, named: int | None = None) -> Iterator[None]:
    """Hold the lock of a folder that exists, once more where this process holds it already.

    Args:
        folder: what only one process may write to.
        named: the process that its files say writes to it, if that runs: believed where the file system has no locks.
            Where it has, it may be another program by now, that got the number of one that was killed.

    Raises:
        UserError: another process writes to it, or it cannot be read.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); give another with output=DIR") from None
    status = os.fstat(descriptor)
    identity = status.st_dev, status.st_ino
    if identity in _held.values():
        os.close(descriptor)
        yield
        return
    _held[descriptor] = identity
    try:
        free = _lock(descriptor)
        if free is False or (free is None and named not in (None, os.getpid())):
            who = "another process" if named is None else f"process {named}"
            raise UserError(f"{folder} is being written by {who}; wait for it or give another with output=DIR")
        yield
    finally:
        if _held.pop(descriptor, None) is not None:  # a forked process has closed it
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open folder; False where another process has, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _let_go() -> None:
    """Close a forked worker's copies of the locks: they must not outlive this process."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

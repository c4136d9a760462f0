"""Set up the worker processes that copy images: their number and the shared memory for batches."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from streetlab.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps memory that processes share; a container may have little of it, Docker's own choice is 64 MB."""
MOST_WORKERS = 256
PREFETCHED = 2
"""Batches that each worker has ready, as PyTorch has it by default."""
_PAGE = 4096
_ADVICE = "num_workers=0 reads the same batches without it, and a container can have more (docker run --shm-size=1g)"


class SharedMemoryError(UserError):
    """A worker had no shared memory left for a batch.

    PyTorch makes a worker's exception anew in the main process and hands it the worker's traceback as text, in place
    of which the message says what the memory has.
    """

    def __init__(self, _traceback: str = "") -> None:
        super().__init__(f"num_workers: {_size() or SHARED_MEMORY}, and there is no room for a batch; {_ADVICE}")


def checked_workers(number: object) -> int:
    """Check `num_workers` and return the number of workers that it names.

    Raises:
        UserError: it is not a whole number from 0 to 256.
    """
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MOST_WORKERS:
        return number
    raise UserError(
        f"num_workers: {number} is not a whole number from 0 to {MOST_WORKERS}; 0 lets the main process copy rows, "
        "which keeps up since decoding is cached"
    )


def check_shared_memory(workers: int, batch_bytes: int, batches: int) -> None:
    """Refuse workers whose prefetched batches do not fit the shared memory: they would fail in mid-epoch.

    Args:
        batch_bytes: of the tensors of one batch.
        batches: of an epoch.

    Raises:
        UserError: the memory is too small.
    """
    if not workers or sys.platform != "linux":
        return
    locks = (8 + 3 * workers) * _PAGE
    needed = locks + min(PREFETCHED * workers, batches) * batch_bytes
    if not SHARED_MEMORY.is_dir():
        raise UserError(f"num_workers: there is no {SHARED_MEMORY}, through which workers hand over batches; {_ADVICE}")
    usage = shutil.disk_usage(SHARED_MEMORY)
    if usage.total and usage.free < needed:  # a total of 0 is a memory without limit
        raise UserError(f"num_workers: {_size()}, and {workers} workers need {_megabytes(needed)}; {_ADVICE}")
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise UserError(f"num_workers: {SHARED_MEMORY} takes no lock ({error.strerror}); {_ADVICE}") from None


def share(batch: Mapping[str, Any]) -> None:
    """Move a worker's tensors to shared memory.

    PyTorch would do so in a thread of its own, and where that fails the main process waits for the batch forever.

    Raises:
        SharedMemoryError: there is no room.
    """
    for value in batch.values():
        if isinstance(value, Tensor):
            try:
                value.share_memory_()
            except RuntimeError as error:
                raise SharedMemoryError from error


def _size() -> str:
    """`/dev/shm has 1.05 MB, 0.3 MB of it free`; empty where there is none."""
    if not SHARED_MEMORY.is_dir():
        return ""
    usage = shutil.disk_usage(SHARED_MEMORY)
    return f"{SHARED_MEMORY} has {_megabytes(usage.total)}, {_megabytes(usage.free)} of it free"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"

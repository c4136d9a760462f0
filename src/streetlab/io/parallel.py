"""Compute results in order in threads or processes, a few ahead of the one that is needed."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_PROCESSES = 256
"""Pictures to draw from which on starting processes (a second or two) pays."""


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Sequence[Item], ahead: int = 64
) -> Iterator[Result]:
    """`function` of each item, computed in the pool, at most `ahead` of them waiting in memory."""
    pending = deque(pool.submit(function, item) for item in items[:ahead])
    for number in range(len(items)):
        result = pending.popleft().result()
        if number + ahead < len(items):
            pending.append(pool.submit(function, items[number + ahead]))
        yield result


def process_pool() -> Executor:
    """One process per core, for work in Python, which threads of one process cannot share.

    They are spawned, since a fork would inherit PyTorch's threads in whatever state they are, and leave Ctrl-C
    to the process that waits for them. Where the system has no room for the locks between them (/dev/shm is full, or
    closed to this user) there are threads after all: slower, with the same results.
    """
    try:
        return ProcessPoolExecutor(
            os.cpu_count(), mp_context=get_context("spawn"), initializer=signal.signal, initargs=_IGNORE_INTERRUPT
        )
    except OSError:
        return ThreadPoolExecutor(os.cpu_count())


def reading_pool(drawn: bool, count: int) -> Executor:
    """Pool for reading `count` images, one per core: threads, since decoding releases the interpreter lock.

    Args:
        drawn: the images are drawn, in Python; many of them are worth processes.
    """
    return process_pool() if drawn and count >= WORTH_PROCESSES else ThreadPoolExecutor(os.cpu_count())


_IGNORE_INTERRUPT = (signal.SIGINT, signal.SIG_IGN)

"""Keep the server's memory small: what its threads free goes into few heaps, and from there to the system."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX, _ARENAS = -8, 2
"""glibc's malloc.h, and the number of heaps that all threads share."""


def share_heaps() -> None:
    """Keep freed memory in few heaps: glibc makes up to eight for each core, and each keeps what its threads freed.

    Twelve visitors with photos and videos: +48 MiB a minute without this, +3 with it, and as many answers
    (experiments/endurance/load.md). Other libraries of C have no such heaps and no such function.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def trim_heaps() -> None:
    """Give free memory back to the system: glibc keeps what lies below anything that is in use.

    For after a video, whose frames and encoders are large: of 3.0 GB that one held, 0.5 stayed without this. It takes
    milliseconds.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

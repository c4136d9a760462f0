"""Progress bars in a terminal, one line at the start and the end elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


def columns() -> list[ProgressColumn]:
    """What every bar of streetlab shows: what, bar, count, time left, and a note such as a rate."""
    return [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar shows how far we are and how many a second.

    `what` is plain text: brackets in it are not markup.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    started, done = time.perf_counter(), 0
    console = Console(stderr=True)
    if not console.is_terminal:
        log.info("%s%s", what, "" if total is None else f": {total}")
    with Progress(*columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(what), total=total, note="")
        for item in items:
            yield item
            done += 1
            rate = done / max(time.perf_counter() - started, 1e-9)
            bar.update(task, completed=done, note=f"{rate:.0f}/s")
    seconds = time.perf_counter() - started
    log.info("%s: %d in %.1f s (%.0f/s)", what, done, seconds, done / max(seconds, 1e-9))

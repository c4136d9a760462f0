"""Progress bars in a terminal, one line at the start and the end elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from importlib.util import find_spec
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

from streetlab.io.filenames import one_line

log = logging.getLogger(__name__)
T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818  (no fault)
    """The caller cancelled a long piece of work; nothing of it was written."""


class LineFormatter(logging.Formatter):
    """Format a message in one line, with any names in it; a traceback has lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        return one_line(super().formatMessage(record))


def columns() -> list[ProgressColumn]:
    """Columns of every progress bar: task, bar, count, time left, and a note such as a rate."""
    return [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]


def shows_bars(console: Console) -> bool:
    """Tell whether a bar can move there: in a terminal, or in a notebook that has the package ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar shows the count and the rate per second; `title` as for `counting`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with counting(what, total) as show:
        for done, item in enumerate(items, 1):
            yield item
            show(done, total)


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with the count and the rate per second, updated by calls `show(done, total)` of the block.

    `title` is plain text: brackets in it are not markup.
    """
    what = one_line(what)
    started, count = time.perf_counter(), 0
    console = Console(stderr=True)
    shown = shows_bars(console)
    if not shown:
        log.info("%s%s", what, "" if total is None else f": {total}")
    with Progress(*columns(), console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(escape(what), total=total, note="")

        def show(done: int, total: int | None) -> None:
            nonlocal count
            count = done
            bar.update(task, completed=done, total=total, note=_rate(done, time.perf_counter() - started))

        yield show
    seconds = time.perf_counter() - started
    log.info("%s: %d in %.1f s (%s)", what, count, seconds, _rate(count, seconds))


def _rate(done: int, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"

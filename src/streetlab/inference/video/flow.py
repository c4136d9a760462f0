"""Pass work between threads: queues that end together at the first error, and cancellation."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from streetlab.progress import Cancelled

_SECONDS = 0.1  # between two looks at whether all is to end


class _Over(Exception):  # noqa: N818
    """Another thread met a fault."""


class Flow:
    """The state that threads share: the first error in any of them ends them all.

    Args:
        cancelled: says whether the caller wants no more; asked from every thread.
    """

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self.fault: BaseException | None = None

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Run `work` in a thread; what it raises becomes the fault."""

        def run() -> None:
            try:
                work()
            except BaseException as error:  # raised again by whoever waits for the flow's end
                self.fail(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self.fault = self.fault or error

    def raise_fault(self) -> None:
        """Raise the first error, if there is one, once the threads have ended.

        It is kept no longer: its traceback holds all that the threads worked on, and what it was kept in with them, in
        a ring that only a collection of garbage would free.
        """
        fault, self.fault = self.fault, None
        try:
            if fault is not None:
                raise fault
        finally:
            del fault

    def check(self) -> None:
        """Raises Cancelled where the caller asked for the end; ends this thread where another met a fault."""
        if self.fault is not None:
            raise _Over
        if self._cancelled():
            raise Cancelled

    def put(self, items: queue.Queue[Any], item: object) -> None:
        """Add an item as soon as there is room."""
        while True:
            self.check()
            try:
                return items.put(item, timeout=_SECONDS)
            except queue.Full:
                continue

    def get(self, items: queue.Queue[Any]) -> Any:
        """Take the next item as soon as there is one."""
        while True:
            self.check()
            try:
                return items.get(timeout=_SECONDS)
            except queue.Empty:
                continue

"""Send streetlab's log to the terminal and, once the run's folder is known, to its train.log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from streetlab.progress import LineFormatter

_LOGGER = logging.getLogger("streetlab")


class RunLog:
    """The log of one run: lines are held back until `write_to` names their file."""

    def __init__(self, held_back: MemoryHandler) -> None:
        self._held_back = held_back

    def write_to(self, path: Path) -> None:
        """Write the lines so far, and all further ones, to the end of a file."""
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
        self._held_back.setTarget(handler)
        self._held_back.capacity = 1  # nothing waits any longer
        self._held_back.flush()


@contextmanager
def run_log() -> Iterator[RunLog]:
    """Log to the terminal while the block lasts, and to a file as soon as there is one."""
    level, propagate = _LOGGER.level, _LOGGER.propagate
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    held_back = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False)
    to_terminal = _ToTerminal()
    to_terminal.setFormatter(LineFormatter("%(message)s"))
    to_terminal.addFilter(lambda entry: entry.levelno < logging.ERROR)  # errors reach the terminal as one line
    for handler in (held_back, to_terminal):
        _LOGGER.addHandler(handler)
    try:
        yield RunLog(held_back)
    finally:
        _LOGGER.setLevel(level)
        _LOGGER.propagate = propagate
        for handler in (held_back, to_terminal):
            _LOGGER.removeHandler(handler)
        if held_back.target is not None:
            held_back.target.close()
        held_back.close()
        to_terminal.close()


class _ToTerminal(logging.StreamHandler):
    """Writes to whatever stderr is at the moment: a rich bar takes it over to keep lines above itself."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: object) -> None:
        pass

"""`streetlab app` as a process of its own, for the benchmarks that visit it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunningApp:
    """Where it listens, its process, when it was started (`perf_counter`) and the seconds until it said so."""

    address: str
    pid: int
    started: float
    ready: float


@contextmanager
def running_app(runs: Path, *words: str) -> Iterator[RunningApp]:
    """Serve a folder of runs on a free port, with further `key=value` words, until the block is left."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "streetlab", "app", f"runs={runs}", "port=0", *words]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        yield RunningApp(address, server.pid, started, time.perf_counter() - started)
    finally:
        server.terminate()
        server.wait(30)

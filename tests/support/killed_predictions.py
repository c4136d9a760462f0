"""Predictions of photos that are killed half way, at a photo chosen by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_HALF_WAY = """
import sys, time
from streetlab import cli
from streetlab.inference import photos

def read(path, read=photos.read_photo, **options):
    while path.name >= sys.argv[1]:
        time.sleep(1)  # until it is killed
    return read(path, **options)

photos.read_photo = read
sys.exit(cli.run(sys.argv[2:]))
"""


def kill_half_way(words: Sequence[str], first_waiting: str, journal: Path) -> int:
    """Run a command, and kill it when its journal has two lines; returns the lines that it has then.

    Args:
        words: of the command line.
        first_waiting: photos of this name and of later ones are never read.
        journal: predictions.jsonl of the command.
    """
    arguments = [sys.executable, "-c", _HALF_WAY, first_waiting, *words]
    process = subprocess.Popen(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    try:
        while not journal.is_file() or journal.read_bytes().count(b"\n") < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    return len(journal.read_bytes().splitlines())

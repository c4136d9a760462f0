"""Run `pip install`, and say in one line after the other how far it is. Needs Python alone: nothing is installed yet.

    python .ci/pip_install.py --constraint constraints.txt --editable '.[dev]'

In a terminal the line is written anew, elsewhere every ten seconds. What pip says is kept for the case that it fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

_UNITS = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
_WHEEL = re.compile(r"(?:Downloading|Using cached) \S+\.(?:whl|tar\.gz)(?:$| \(([\d.]+) (bytes|kB|MB|GB)\))")
_KEPT = 40
"""Lines of pip that are shown where it fails."""


class Progress:
    """How far pip is, by its own lines.

    Args:
        total: packages that may be installed; 0: not known.
    """

    def __init__(self, total: int) -> None:
        self._total = f" of about {total}" if total else ""
        self._found = self._brought = 0
        self._megabytes = 0.0
        self._stage = "looking up packages"

    def read(self, line: str) -> None:
        """Take in one line of pip's output."""
        line = line.strip()
        if line.startswith(("Collecting ", "Processing ")):
            self._found += 1
            self._brought += line.startswith("Processing ")  # a file on this machine
        elif line.startswith(("Installing collected packages", "Building ")):
            self._stage = line.split(":")[0].lower()
        elif wheel := _WHEEL.match(line):
            self._stage = "bringing packages"
            self._brought += 1
            self._megabytes += float(wheel[1]) * _UNITS[wheel[2]] if wheel[1] else 0.0

    def line(self, seconds: float) -> str:
        """One line: what is done, how much of it, and the time so far."""
        counts = f"{self._found}{self._total} found, {self._brought} brought, {self._megabytes:,.0f} MB"
        return f"{self._stage}: {counts}, {int(seconds) // 60}:{int(seconds) % 60:02d} min"


def constraints_of(words: list[str]) -> int:
    """How many packages the file behind `--constraint` names; 0 without one."""
    if "--constraint" not in words:
        return 0
    lines = Path(words[words.index("--constraint") + 1]).read_text(encoding="utf-8").splitlines()
    return sum("==" in line for line in lines)


def main(words: list[str]) -> int:
    """Run pip with these words; return its exit code."""
    progress, kept = Progress(constraints_of(words)), deque[str](maxlen=_KEPT)
    terminal, began = sys.stdout.isatty(), time.monotonic()
    shown = -60.0
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            kept.append(line)
            progress.read(line)
            seconds = time.monotonic() - began
            if seconds - shown >= (0.2 if terminal else 10.0) or line.startswith("Installing"):
                shown = seconds
                print(f"\r\033[K{progress.line(seconds)}" if terminal else progress.line(seconds),
                      end="" if terminal else "\n", flush=True)  # fmt: skip
    code = pip.returncode
    print("\r\033[K" if terminal else "", end="")
    print(progress.line(time.monotonic() - began) if code == 0 else "".join(kept), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How long does each command take to start? Seconds of `streetlab --help`, of every command's help and config.

python benchmarks/start_up.py
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from tables import Table, arguments, interleaved, number, publish, spread

from streetlab.cli import COMMANDS

AT_ONCE, SOON = 0.5, 2.0
"""Targets in seconds: of what needs no config, and of what composes one."""


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__, rounds=5)
    options = parser.parse_args(words)
    started = time.perf_counter()
    lines = [["--version"], ["--help"]]
    lines += [[command, word] for word in ("--help", "--cfg=job") for command in COMMANDS]
    cpu: dict[str, list[float]] = {}
    failed: dict[str, str] = {}

    def run(line: list[str]) -> float:
        before, began = _cpu_seconds(), time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "streetlab", *line], capture_output=True, text=True)
        seconds = time.perf_counter() - began
        name = " ".join(line)
        cpu.setdefault(name, []).append(_cpu_seconds() - before)
        if done.returncode:
            failed[name] = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return seconds

    rounds = min(options.rounds, 2) if options.quick else options.rounds
    ways = {" ".join(line): lambda line=line: run(line) for line in lines}
    measured = interleaved(ways, rounds, what="starting")
    rows = []
    for name, seconds in measured.items():
        target = AT_ONCE if name.startswith("--") else SOON
        kept = "failed" if name in failed else "yes" if spread(seconds).median <= target else "no"
        rows.append([f"streetlab {name}", str(spread(seconds)), number(min(cpu[name])), f"≤ {target}", kept])
    notes = [f"Wall clock, median (least–most) of {rounds} in turn after one unmeasured; least processor time."]
    notes += [f"streetlab {name} failed: {line}" for name, line in failed.items()]
    table = Table(["command", "s", "s of processor", "target, s", "kept"], rows, notes=notes)
    numbers = {"seconds": measured, "cpu_seconds": cpu, "failed": failed}
    publish(
        "start_up", "How long does each command take to start?", [table], numbers, options.output,
        time.perf_counter() - started,
    )  # fmt: skip
    if failed:
        sys.exit(1)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

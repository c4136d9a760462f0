"""Ways measured as processes of their own, in turns: seconds, processor time, memory, and what they answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tables import Table, interleaved, number, ratio, spread

PEERS = Path(__file__).with_name("peers")
LAUNCHER = Path(__file__).with_name("launcher.py")
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One process that came to its end.

    Attributes:
        seconds: from start to end.
        cpu_seconds: user and system, of its children too, such as a DataLoader's workers.
        peak: bytes that were resident at most, of the largest process.
        answer: the JSON object in its last line, or what a question adds.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A question with its answer: tables for people, measurements for programs."""

    tables: list[Table]
    numbers: dict[str, Any]


Way = Callable[[int], Measured]
"""Takes the number of the round, which serves as seed and keeps folders apart."""


class MissingPeer(Exception):  # noqa: N818  (no fault: its row says so)
    """A package or program that a peer needs is not installed."""


def ours(*words: str) -> list[str]:
    """The command line of `streetlab`."""
    return [sys.executable, "-m", "streetlab", *words]


def peer(name: str, options: argparse.Namespace, **arguments: object) -> list[str]:
    """The command line of a script in peers/; arguments become `--name=value`."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in arguments.items()]
    return [str(options.peer_python or sys.executable), str(PEERS / f"{name}.py"), *words]


def measure(command: Sequence[str], options: argparse.Namespace, answers: bool = False) -> Measured:
    """Run a command to its end, with one thread for each process.

    Args:
        answers: its last line is a JSON object.

    Raises:
        MissingPeer: a script of peers/ does not find what it imports.
        RuntimeError: it failed otherwise; its last line of errors.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | threads
    if options.packages and command[1].startswith(str(PEERS)):
        packages = [str(options.packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(packages)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        launched = [sys.executable, "-I", "-S", str(LAUNCHER), str(report), *command]
        done = subprocess.run(launched, capture_output=True, text=True, env=environment)
        lines = done.stdout.strip().splitlines()
        if done.returncode:
            raise _failure(command, (done.stderr.strip().splitlines() or lines or ["no output"])[-1])
        used = json.loads(report.read_text())
    return Measured(**used, answer=json.loads(lines[-1]) if answers else {})


def _failure(command: Sequence[str], line: str) -> Exception:
    """What to raise for a command whose last line is this."""
    if line.startswith("ModuleNotFoundError: No module named "):
        return MissingPeer(f"not installed: {line.split(chr(39))[1]}")
    return RuntimeError(f"{' '.join(command[:4])} ...: {line}")


def take_turns(
    ways: Mapping[str, Way], options: argparse.Namespace, what: str
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Measure each way once a round, in turn; each measurement is added to peers.jsonl at once.

    Returns:
        the measurements of each way, and the reason by name of each way that could not be measured.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    missing: dict[str, str] = {}

    def turn(name: str) -> float:
        if name not in missing:
            try:
                measured[name].append(ways[name](len(measured[name])))
                entry = {"what": what, "way": name} | asdict(measured[name][-1])
                options.output.mkdir(parents=True, exist_ok=True)
                with (options.output / "peers.jsonl").open("a") as journal:
                    journal.write(json.dumps(entry) + "\n")
            except (MissingPeer, RuntimeError) as error:
                missing[name] = str(error)
        return 0.0

    interleaved({name: lambda name=name: turn(name) for name in ways}, options.rounds, warm_up=False, what=what)
    return {name: values for name, values in measured.items() if name not in missing}, missing


def table(
    title: str,
    measured: Mapping[str, Sequence[Measured]],
    missing: Mapping[str, str],
    extra: Mapping[str, Callable[[Sequence[Measured]], str]],
    reference: str,
    notes: Sequence[str] = (),
) -> Table:
    """What the ways answered and took; ratios to `reference`, pair by pair of the same round.

    Args:
        extra: columns of the question's own, before those of time and memory.
    """
    base = measured[reference]
    headers = ["way", *extra, "seconds", "of streetlab's", "CPU seconds", "of streetlab's", "peak, MiB"]
    rows = []
    for name, values in measured.items():
        rows.append([name, *(show(values) for show in extra.values())])
        for key in ("seconds", "cpu_seconds"):
            taken = [getattr(value, key) for value in values]
            rows[-1] += [str(spread(taken)), f"{ratio(taken, [getattr(value, key) for value in base])}×"]
        rows[-1].append(number(statistics.median(value.peak for value in values) / MIB))
    rows += [[name, reason, *[""] * (len(headers) - 2)] for name, reason in missing.items()]
    median = f"Median (least–most) of {len(base)} in turn, each a process from start to end." if len(base) > 1 else ""
    return Table(headers, rows, title, [*notes, *([median] if median else [])])


def as_numbers(measured: Mapping[str, Sequence[Measured]], missing: Mapping[str, str]) -> dict[str, Any]:
    """The same for programs."""
    return {"measured": {name: [asdict(v) for v in values] for name, values in measured.items()}, "missing": missing}


def shown(key: str, digits: int | None = None) -> Callable[[Sequence[Measured]], str]:
    """A column of a number in the answers, as median and range; empty where a way does not give it."""

    def show(values: Sequence[Measured]) -> str:
        numbers = [value.answer[key] for value in values if value.answer.get(key) is not None]
        if not numbers:
            return ""
        if digits is None:
            return str(spread(numbers))
        median, low, high = (f"{of(numbers):.{digits}f}" for of in (statistics.median, min, max))
        return median if low == high else f"{median} ({low}–{high})"

    return show


def scaled(count: int, options: argparse.Namespace) -> int:
    """So many photos or frames, at `--scale`."""
    return max(8, round(count * options.scale))


def lines_of_code(name: str) -> int:
    """Lines of a script of peers/ that are neither empty nor comments."""
    lines = (PEERS / f"{name}.py").read_text().splitlines()
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


@contextlib.contextmanager
def working_folder(options: argparse.Namespace) -> Any:
    """A temporary folder, or that of `--keep`."""
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        yield options.keep
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

"""What the benchmarks share: ways measured in turn, medians with their spread, ratios of one run, tables on disk.

parser = arguments(__doc__)
options = parser.parse_args()
rates = interleaved({"eager": run_eager, "compiled": run_compiled}, options.rounds)
rows = [[name, str(spread(values)), str(ratio(values, rates["eager"]))] for name, values in rates.items()]
publish("latency", "How long does one photo take?", [Table(["way", "ms", "of eager"], rows)], rates, options.output)
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streetlab.io import files, markdown
from streetlab.progress import track
from streetlab.records.record import now
from streetlab.training.provenance import provenance

OUTPUT = Path("outputs/bench")


@dataclass(frozen=True)
class Spread:
    """Median, least and most of `n` measurements; as text `12.3 (11.9–12.8)`."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if self.n == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"

    def percent(self) -> str:
        """A share as `97% (95–99%)`."""
        if self.n == 1:
            return f"{self.median:.0%}"
        return f"{self.median:.0%} ({100 * self.low:.0f}–{self.high:.0%})"


@dataclass(frozen=True)
class Table:
    """One table of a report; cells are text.

    Attributes:
        headers, rows: what stands in it.
        title: a line above it, where a report has several.
        notes: lines below it.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Its Markdown."""
        above = [f"### {self.title}", ""] if self.title else []
        below = [line for note in self.notes for line in ("", note)]
        return [*above, *markdown.table(self.headers, self.rows), *below]


def arguments(doc: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--rounds`, `--quick`, `--output`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measurements of each way (default {rounds})")
    parser.add_argument("--quick", action="store_true", help="about two minutes on two cores: fewer, smaller")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"folder of the reports (default {OUTPUT})")
    return parser


def interleaved(
    ways: Mapping[str, Callable[[], float]], rounds: int, warm_up: bool = True, what: str = "rounds"
) -> dict[str, list[float]]:
    """Measure several ways in turn, so that what else the machine does falls on all of them alike.

    Args:
        ways: each measures itself once and returns the number: a rate, seconds, bytes.
        rounds: how often each is measured; number `i` of two ways was measured one after the other.
        warm_up: run each once before, unmeasured: caches, compilation, threads.
        what: the name of the progress bar.
    """
    turns = [(round, name) for round in range(0 if warm_up else 1, rounds + 1) for name in ways]
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for round, name in track(turns, what):
        value = ways[name]()
        if round:
            measured[name].append(value)
    return measured


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most of the measurements of one way."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(values: Sequence[float], reference: Sequence[float]) -> Spread:
    """`values` over `reference`, pair by pair of the same round of `interleaved`."""
    return spread([value / other for value, other in zip(values, reference, strict=True)])


def number(value: float) -> str:
    """Three digits that count, without an exponent: 1,234, 56.7, 0.00890."""
    magnitude = math.floor(math.log10(abs(value))) if value else 2
    return f"{value:,.{max(0, 2 - magnitude)}f}"


def publish(
    name: str, question: str, tables: Sequence[Table], numbers: Any, output: Path, seconds: float | None = None
) -> None:
    """Print a report and write it as `<output>/<name>.md` and `.json`, with machine, versions and commit.

    Args:
        name: of the files.
        question: the title.
        tables: what people read.
        numbers: what programs read: every measurement, in JSON's types.
        output: the folder.
        seconds: how long the benchmark took.
    """
    where = provenance()
    blocks = ["\n".join(table.lines()) for table in tables]
    text = "\n\n".join([f"## {question}", *blocks, machine(where)])
    print(text, flush=True)
    files.write_text(output / f"{name}.md", text + "\n")
    report = {"name": name, "question": question, "measured": now(), "seconds": seconds, "numbers": numbers}
    files.write_json(output / f"{name}.json", report | {"provenance": where})


def machine(where: Mapping[str, Any]) -> str:
    """One line of where it was measured, from `provenance()`."""
    versions = ", ".join(f"{name} {where['packages'][name]}" for name in ("torch", "pytorch-lightning", "streetlab"))
    git = where["git"]
    commit = f", commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else ""
    return f"{where['processor']}, {where['threads']} threads, {where['device']}, {versions}{commit}"

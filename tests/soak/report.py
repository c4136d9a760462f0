"""What came of the cycles: lines of the log, and tables at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cycle:
    """Some disturbances of one command.

    Attributes:
        number: of the cycle; its random numbers follow from it and the seed.
        when: the moment, as a share of the undisturbed run: see `Call`.
        more: further disturbances of what is left, each with its moment.
    """

    number: int
    job: str
    disturbance: str
    when: float
    more: tuple[tuple[str, float], ...] = ()

    @property
    def steps(self) -> list[tuple[str, float]]:
        """All disturbances in turn."""
        return [(self.disturbance, self.when), *self.more]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Cycle:
        """The cycle of a line of the log."""
        return cls(**{**values, "more": tuple((kind, when) for kind, when in values.get("more", ()))})


@dataclass(frozen=True)
class Step:
    """What came of one disturbance: see `Outcome`."""

    disturbance: str
    applied: bool
    code: int | None
    last_line: str


@dataclass
class Result:
    """What came of a cycle: a line of the log.

    Attributes:
        repeats: so often the command ran undisturbed at the end until it ended well.
        log: what the command printed, where something was violated.
    """

    cycle: Cycle
    steps: list[Step] = field(default_factory=list)
    repeats: int = 0
    violations: list[str] = field(default_factory=list)
    log: str = ""

    def line(self) -> str:
        """The cycle in one line."""
        steps = ", ".join(f"{kind} at {when:.2f}" for kind, when in self.cycle.steps)
        return f"{self.cycle.number} {self.cycle.job}: {steps}: {'; '.join(self.violations)[:300] or 'ok'}"


def summary(results: list[Result], impossible: Mapping[str, str], log: Path, minutes: float) -> str:
    """A table of disturbances by command, the violations by kind and one by one, and how to repeat those."""
    counts = Counter((one.cycle.job, step.disturbance) for one in results for step in one.steps if step.applied)
    jobs = sorted({result.cycle.job for result in results})
    kinds = sorted({kind for _, kind in counts})
    lines = ["| command | " + " | ".join(kinds) + " | all |", "|---" * (len(kinds) + 2) + "|"]
    for job in jobs:
        row = [counts[job, kind] for kind in kinds]
        lines.append(f"| {job} | " + " | ".join(map(str, [*row, sum(row)])) + " |")
    totals = [sum(counts[job, kind] for job in jobs) for kind in kinds]
    lines += ["| all | " + " | ".join(map(str, [*totals, sum(totals)])) + " |", ""]
    lines += [f"not possible here: {kind}: {reason}" for kind, reason in impossible.items()]
    bad = [result for result in results if result.violations]
    lines.append(
        f"{sum(totals)} disturbances in {len(results)} cycles and {minutes:.0f} minutes, "
        f"{sum(len(result.violations) for result in bad)} violations in {len(bad)} cycles"
    )
    by_kind = Counter(violation.partition(":")[0] for result in bad for violation in result.violations)
    lines += [f"  {count} {kind}" for kind, count in by_kind.most_common()]
    for result in bad:
        lines += [f"  {result.line().rpartition(': ')[0]}", *(f"    {one}" for one in result.violations)]
    if bad:
        numbers = ",".join(str(result.cycle.number) for result in bad)
        lines.append(f"again: python -m tests.soak.soak replay={log} cycles={numbers} log=again.jsonl")
    return "\n".join(lines)

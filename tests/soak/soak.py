"""Disturb every command at random for some minutes: `python -m tests.soak.soak minutes=30 seed=0 log=soak.jsonl`.

Each cycle starts a command on a fresh folder, disturbs it, checks what it leaves, then runs the same command until it
ends well, and compares the results with those of undisturbed runs. A line of the log holds all that a cycle needs to be
repeated: `replay=soak.jsonl` does. Exit code 1 where anything was violated.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.disturbances import DISTURBANCES, Call, Place, can_mount, impossible_here
from tests.soak.invariants import (
    Expected,
    processes_marked,
    shared_memory,
    snapshot,
    unreadable_results,
)
from tests.soak.jobs import JOBS, Job, make_inputs, set_up

_OF_LIBRARIES = (".ses",)
"""Names that libraries leave in TMPDIR: ONNX Runtime's session."""
_MOST_REPEATS = 3
"""So often the same command may be needed after a disturbance until it ends well."""


@dataclass(frozen=True)
class Cycle:
    """One disturbance of one command.

    Attributes:
        number: of the cycle; its random numbers follow from it and the seed.
        when: the moment, as a share of the undisturbed run.
    """

    number: int
    job: str
    disturbance: str
    when: float


@dataclass
class Result:
    """What came of a cycle: a line of the log."""

    cycle: Cycle
    applied: bool
    code: int | None
    repeats: int
    last_line: str
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A command's results and needs where nothing happens to it."""

    expected: Expected
    seconds: float
    growth: int
    peak: int


def draw(seed: int, number: int, jobs: Iterable[str], disturbances: Iterable[str]) -> Cycle:
    """The cycle of that number."""
    chance = random.Random(f"{seed}.{number}")
    return Cycle(number, chance.choice(sorted(jobs)), chance.choice(sorted(disturbances)), round(chance.random(), 4))


class Soak:
    """Runs cycles in a folder.

    Args:
        base: an empty folder for inputs and working folders.
        jobs: the commands.
        environment: further variables of every command.
    """

    def __init__(self, base: Path, jobs: Iterable[Job] = JOBS, environment: dict[str, str] | None = None) -> None:
        self.base, self.jobs = base, {job.name: job for job in jobs}
        self.inputs = base / "inputs"
        self._environment = (
            dict(os.environ)
            | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(base / "inductor")}
            | (environment or {})
        )
        self._known: dict[str, Undisturbed] = {}
        if not self.inputs.exists():
            make_inputs(self.inputs)

    def _place(self, job: Job) -> Place:
        place = Place(self.base / job.name)
        if can_mount() and not os.path.ismount(place.folder):
            place.mount()
        place.folder.mkdir(parents=True, exist_ok=True)
        return place

    def _fresh(self, job: Job) -> Place:
        place = self._place(job)
        place.empty()
        set_up(job, self.inputs, place.folder)
        return place

    def _start(
        self, job: Job, place: Place, mark: str, group: Path | None = None, **more: str
    ) -> subprocess.Popen[bytes]:
        temporary = place.folder.with_suffix(".tmp")
        temporary.mkdir(exist_ok=True)
        log = place.folder.with_suffix(".log").open("ab")

        def join() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # of a job in a shell's background it is ignored
            if group is not None:
                (group / "tasks").write_text(str(os.getpid()))

        with log:
            return subprocess.Popen(
                job.command, cwd=place.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self._environment | {"SOAK": mark, "TMPDIR": str(temporary)} | more, preexec_fn=join,
            )  # fmt: skip

    def undisturbed(self, job: Job) -> Undisturbed:
        """Run a command twice with nothing in its way.

        Raises:
            RuntimeError: it does not end well even so.
        """
        if job.name not in self._known:
            snapshots, seconds, growth, peak = [], 0.0, 0, 0
            for _ in range(2):
                place = self._fresh(job)
                before, started = place.used(), time.perf_counter()
                process = self._start(job, place, "undisturbed")
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if status:
                    log = place.folder.with_suffix(".log").read_text()[-2000:]
                    raise RuntimeError(f"{job.name} does not end well undisturbed: {' '.join(job.words)}\n{log}")
                seconds, growth = time.perf_counter() - started, place.used() - before
                peak = max(peak, usage.ru_maxrss * 1024)
                snapshots.append(snapshot(place.folder))
                place.folder.with_suffix(".log").unlink()
            self._known[job.name] = Undisturbed(Expected.of(*snapshots), seconds, growth, peak)
        return self._known[job.name]

    def run(self, cycle: Cycle) -> Result:
        """Disturb a command, check what is left, and run it until it ends well."""
        job = self.jobs[cycle.job]
        known = self.undisturbed(job)
        place, mark = self._fresh(job), f"soak-{os.getpid()}-{cycle.number}"
        log, shared = place.folder.with_suffix(".log"), shared_memory()
        log.unlink(missing_ok=True)

        def start(**more: Any) -> subprocess.Popen[bytes]:
            return self._start(job, place, mark, **more)

        call = Call(place, known.seconds, known.growth, known.peak, cycle.when, start)
        outcome = DISTURBANCES[cycle.disturbance](call)
        text = log.read_text(errors="replace")
        result = Result(cycle, outcome.applied, outcome.code, 0, _last_line(text))
        if outcome.code not in outcome.allowed:
            result.violations.append(f"exit code {outcome.code}; allowed: {outcome.allowed}")
        result.violations += unreadable_results(place.folder)
        result.violations += self._leftovers(mark)
        for repeat in range(1, _MOST_REPEATS + 1):
            result.repeats = repeat
            code = call.wait(start())
            if code == 0:
                break
        else:
            result.violations.append(f"the same command does not end well afterwards: {_last_line(log.read_text())}")
        if code == 0:
            result.violations += known.expected.violations(place.folder)
        result.violations += self._leftovers(mark)
        until = time.monotonic() + 3  # other programs of the machine use it too, mostly for a moment
        while (left := shared_memory() - shared) and time.monotonic() < until:
            time.sleep(0.1)
        result.violations += [f"left in shared memory: {name}" for name in sorted(left)]
        if "Traceback (most recent call last)" in log.read_text(errors="replace"):
            result.violations.append("a traceback reached the user")
        temporary = place.folder.with_suffix(".tmp")
        if cycle.disturbance not in ("kill", "stale lock", "little memory"):  # after these nobody can tidy up
            left_there = sorted(path.name for path in temporary.iterdir() if path.name not in _OF_LIBRARIES)
            result.violations += [f"left in TMPDIR: {name}" for name in left_there]
        shutil.rmtree(temporary, ignore_errors=True)
        return result

    def _leftovers(self, mark: str) -> list[str]:
        """Processes that outlive their command by more than a few seconds; they are ended."""
        until = time.monotonic() + 5
        while (alive := processes_marked(mark)) and time.monotonic() < until:
            time.sleep(0.1)
        for process in alive:
            os.kill(process, signal.SIGKILL)
        return [f"processes outlive the command: {len(alive)}"] if alive else []

    def close(self) -> None:
        """Unmount the working folders."""
        for job in self.jobs.values():
            place = Place(self.base / job.name)
            if os.path.ismount(place.folder):
                place.unmount()


def _last_line(text: str) -> str:
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-300:] if lines else ""


def summary(results: list[Result], impossible: dict[str, str]) -> str:
    """A table of disturbances by command, and the violations."""
    counts = Counter((result.cycle.job, result.cycle.disturbance) for result in results if result.applied)
    jobs = sorted({result.cycle.job for result in results})
    kinds = sorted({result.cycle.disturbance for result in results})
    lines = ["| command | " + " | ".join(kinds) + " | all |", "|---" * (len(kinds) + 2) + "|"]
    for job in jobs:
        row = [counts[job, kind] for kind in kinds]
        lines.append(f"| {job} | " + " | ".join(map(str, [*row, sum(row)])) + " |")
    totals = [sum(counts[job, kind] for job in jobs) for kind in kinds]
    lines.append("| all | " + " | ".join(map(str, [*totals, sum(totals)])) + " |")
    lines += [f"not possible here: {kind}: {reason}" for kind, reason in impossible.items()]
    bad = [result for result in results if result.violations]
    lines.append(f"{sum(totals)} disturbances, {len(bad)} cycles with violations")
    for result in bad:
        cycle = result.cycle
        lines.append(f"  cycle {cycle.number}: {cycle.job}, {cycle.disturbance} at {cycle.when}")
        lines += [f"    {violation}" for violation in result.violations]
    return "\n".join(lines)


def _cycles(options: dict[str, str], impossible: dict[str, str]) -> Iterator[Cycle]:
    if "replay" in options:
        for line in Path(options["replay"]).read_text().splitlines():
            yield Cycle(**json.loads(line)["cycle"])
        return
    names = options["only"].split(",") if "only" in options else [job.name for job in JOBS]
    kinds = options["kinds"].split(",") if "kinds" in options else [*DISTURBANCES]
    until = time.monotonic() + 60 * float(options.get("minutes", "30"))
    number = int(options.get("first", "0"))
    while time.monotonic() < until:
        yield draw(int(options.get("seed", "0")), number, names, [kind for kind in kinds if kind not in impossible])
        number += 1


def main(words: list[str]) -> int:
    options = dict(word.split("=", 1) for word in words)
    impossible = impossible_here()
    log = Path(options.get("log", "outputs/soak.jsonl"))
    log.parent.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    results = []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, log.open("w") as file:
        soak = Soak(Path(folder))
        try:
            for cycle in _cycles(options, impossible):
                result = soak.run(cycle)
                results.append(result)
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                state = "; ".join(result.violations) or "ok"
                print(f"{cycle.number} {cycle.job}, {cycle.disturbance} at {cycle.when:.2f}: {state[:200]}", flush=True)
        finally:
            soak.close()
    print(summary(results, impossible))
    return int(any(result.violations for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

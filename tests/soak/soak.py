"""Disturb every command at random: `python -m tests.soak.soak minutes=30 seed=0 workers=2 log=soak.jsonl`.

Each cycle starts a command on a fresh folder, disturbs it some times in a row, checks what each leaves, then runs the
same command until it ends well, and compares the results with those of undisturbed runs. A line of the log holds all
that a cycle needs to be repeated: `replay=soak.jsonl cycles=12,40` does. Exit code 1 where anything was violated.
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
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.soak.disturbances import DISTURBANCES, Call, Outcome, Place, can_mount, impossible_here, waited
from tests.soak.invariants import (
    Expected,
    nobodys,
    processes_marked,
    shared_memory,
    snapshot,
    unreadable_results,
)
from tests.soak.jobs import JOBS, Job, make_inputs, set_up
from tests.soak.report import Cycle, Result, Step, summary

_OF_LIBRARIES = (".ses",)
"""Names that libraries leave in TMPDIR: ONNX Runtime's session."""
_NOBODY_TIDIES = ("kill", "stale lock", "little memory")
"""What ends a command at once, so that its files in TMPDIR stay."""
_MOST_REPEATS = 3
"""So often the same command may be needed after a disturbance until it ends well."""
_MOST_LOGGED = 20_000
"""Characters of what a command printed that the soak's log keeps of it, where something was violated."""
_STEPS = 4
"""So many disturbances a cycle has: the run to the end that follows is what costs most."""


@dataclass(frozen=True)
class Undisturbed:
    """A command's results and needs where nothing happens to it; `begins` and `seconds` as of `Call`."""

    expected: Expected
    begins: float
    seconds: float
    growth: int
    peak: int


def draw(seed: int, number: int, jobs: Iterable[str], disturbances: Iterable[str]) -> Cycle:
    """The cycle of that number."""
    chance = random.Random(f"{seed}.{number}")
    job, kinds = chance.choice(sorted(jobs)), sorted(disturbances)
    (disturbance, when), *more = [(chance.choice(kinds), round(chance.random(), 4)) for _ in range(_STEPS)]
    return Cycle(number, job, disturbance, when, tuple(more))


class Soak:
    """Runs cycles in a folder, one at a time.

    Args:
        base: an empty folder for inputs and working folders.
        jobs: the commands.
        beside: another one, that runs cycles at the same time: what it knows is shared.
    """

    def __init__(self, base: Path, jobs: Iterable[Job] = JOBS, beside: Soak | None = None) -> None:
        self.base, self.jobs = base, {job.name: job for job in jobs}
        self.inputs = beside.inputs if beside else base / "inputs"
        self._known: dict[str, Undisturbed] = beside._known if beside else {}
        self._knowing = beside._knowing if beside else {name: threading.Lock() for name in self.jobs}
        base.mkdir(exist_ok=True)
        self._environment = dict(os.environ) | _environment(self.inputs.parent)
        if not self.inputs.exists():
            make_inputs(self.inputs, self._environment)

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
                start_new_session=True,
            )  # fmt: skip

    def undisturbed(self, job: Job) -> Undisturbed:
        """What a command does with nothing in its way, from two runs of it, which are made once."""
        with self._knowing[job.name]:
            if job.name not in self._known:
                self._known[job.name] = self._run_undisturbed(job)
        return self._known[job.name]

    def _run_undisturbed(self, job: Job) -> Undisturbed:
        """Run a command twice.

        Raises:
            RuntimeError: it does not end well.
        """
        snapshots, begins, seconds, growth, peak = [], 0.0, 0.0, 0, 0
        for _ in range(2):
            place = self._fresh(job)
            before, free, started = place.used(), place.free(), time.monotonic()
            process = self._start(job, place, "undisturbed")
            while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                seconds = time.monotonic() - started - waited(process.pid)
                if place.free() == free:
                    begins = seconds
                time.sleep(0.03)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if status:
                log = place.folder.with_suffix(".log").read_text()[-2000:]
                raise RuntimeError(f"{job.name} does not end well undisturbed: {' '.join(job.words)}\n{log}")
            growth, peak = place.used() - before, max(peak, usage.ru_maxrss * 1024)
            snapshots.append(snapshot(place.folder))
            place.folder.with_suffix(".log").unlink()
        return Undisturbed(Expected.of(*snapshots), begins, seconds, growth, peak)

    def run(self, cycle: Cycle) -> Result:
        """Disturb a command some times, check what each leaves, and run it until it ends well."""
        job = self.jobs[cycle.job]
        known = self.undisturbed(job)
        place, mark, shared = self._fresh(job), f"soak-{os.getpid()}-{cycle.number}-{id(self)}", shared_memory()
        log, temporary = place.folder.with_suffix(".log"), place.folder.with_suffix(".tmp")
        log.unlink(missing_ok=True)
        result = Result(cycle)

        def start(**more: Any) -> subprocess.Popen[bytes]:
            return self._start(job, place, mark, **more)

        for number, (disturbance, when) in enumerate(cycle.steps):
            call = Call(place, known.begins, known.seconds, known.growth, known.peak, when, start)
            outcome = DISTURBANCES[disturbance](call)
            result.steps.append(Step(disturbance, outcome.applied, outcome.code, _last_line(log)))
            result.violations += [f"{one} (after {disturbance})" for one in self._faults(place, mark, outcome)]
            if disturbance not in _NOBODY_TIDIES and temporary.exists():
                left_there = sorted(path.name for path in temporary.iterdir() if path.name not in _OF_LIBRARIES)
                result.violations += [f"left in TMPDIR: {name} (after {disturbance})" for name in left_there]
            shutil.rmtree(temporary, ignore_errors=True)
            if outcome.code == 0:
                result.violations += [f"{one} (after {disturbance})" for one in known.expected.violations(place.folder)]
                if number + 1 < len(cycle.steps):
                    place = self._fresh(job)
        if outcome.code != 0:
            result.violations += self._end_well(call, known.expected, mark, result)
        if left := shared_memory() - shared:
            time.sleep(1)  # other programs of the machine use it too, mostly for a moment
            result.violations += [f"left in shared memory: {name}" for name in nobodys(left & shared_memory())]
        if "Traceback (most recent call last)" in log.read_text(errors="replace"):
            result.violations.append("a traceback reached the user")
        if result.violations:
            result.log = log.read_text(errors="replace")[-_MOST_LOGGED:]
        shutil.rmtree(temporary, ignore_errors=True)
        return result

    def _faults(self, place: Place, mark: str, outcome: Outcome) -> list[str]:
        """What is wrong just after a disturbance, whether or not the command ended well."""
        found = []
        if outcome.code not in outcome.allowed:
            found.append(f"exit code: {outcome.code}; allowed: {outcome.allowed}")
        return found + unreadable_results(place.folder) + self._leftovers(mark)

    def _end_well(self, call: Call, expected: Expected, mark: str, result: Result) -> list[str]:
        """Run the command until it ends well, and compare its results."""
        for repeat in range(1, _MOST_REPEATS + 1):
            result.repeats = repeat
            if call.wait(call.start()) == 0:
                return expected.violations(call.place.folder) + self._leftovers(mark)
        last = _last_line(call.place.folder.with_suffix(".log"))
        return [f"does not end well afterwards: {last}", *self._leftovers(mark)]

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


def _environment(folder: Path) -> dict[str, str]:
    """Variables that let commands start in less time, and on one core."""
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "wandb.py").write_text("raise ImportError")  # timm imports it where it is there; no job uses it
    return {
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "PYTHONPATH": os.pathsep.join([str(hidden), str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split()]),
    }


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-300:] if lines else ""


def _cycles(options: dict[str, str], impossible: dict[str, str], until: float = 0.0) -> Iterator[Cycle]:
    if "replay" in options:
        numbers = options.get("cycles", "").split(",")
        for line in Path(options["replay"]).read_text().splitlines():
            cycle = Cycle.of(json.loads(line)["cycle"])
            if numbers == [""] or str(cycle.number) in numbers:
                yield cycle
        return
    names = options["only"].split(",") if "only" in options else [job.name for job in JOBS]
    kinds = options["kinds"].split(",") if "kinds" in options else [*DISTURBANCES]
    number = int(options.get("first", "0"))
    while time.monotonic() < until:
        yield draw(int(options.get("seed", "0")), number, names, [kind for kind in kinds if kind not in impossible])
        number += 1


def _all_at_work(soaks: Sequence[Soak], cycles: Iterable[Cycle], done: Callable[[Result], None]) -> None:
    """Run each cycle in the first place that is free; after a fault or Ctrl-C begin no more."""
    lock, waiting, ending = threading.Lock(), iter(cycles), threading.Event()

    def work(soak: Soak) -> None:
        try:
            while not ending.is_set():
                with lock:
                    cycle = next(waiting, None)
                if cycle is None:
                    return
                result = soak.run(cycle)
                with lock:
                    done(result)
        except BaseException:
            ending.set()
            raise

    with ThreadPoolExecutor(len(soaks)) as pool:
        try:
            list(pool.map(work, soaks))
        finally:
            ending.set()


def main(words: list[str]) -> int:
    options = dict(word.split("=", 1) for word in words)
    started, impossible = time.monotonic(), impossible_here()
    until = started + 60 * float(options.get("minutes", "30"))
    log = Path(options.get("log", "outputs/soak.jsonl"))
    log.parent.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    results: list[Result] = []
    cycles = [*_cycles(options, {})] if "replay" in options else _cycles(options, impossible, until)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, log.open("w") as file:
        first = Soak(Path(folder))
        soaks = [first]
        soaks += [Soak(Path(folder) / str(n), beside=first) for n in range(1, int(options.get("workers", "1")))]

        def done(result: Result) -> None:
            results.append(result)
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            print(result.line(), flush=True)

        try:
            with suppress(KeyboardInterrupt):
                _all_at_work(soaks, cycles, done)
        finally:
            for soak in soaks:
                soak.close()
    print(summary(results, impossible, log, (time.monotonic() - started) / 60))
    return int(any(result.violations for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

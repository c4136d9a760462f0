"""The outcome of one command line: its error, its failed jobs, the sweep that it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class JobFailed(Exception):  # noqa: N818  (it is what happened to a job, not a kind of fault)
    """Stands for the error of a job of a sweep, whose frames (network, GPU memory) it does not keep alive."""


class JobCutShort(JobFailed):
    """The disk would not take what the job wrote: nothing is wrong with the job itself."""


@dataclass
class Outcome:
    """Exit code and last lines of a command follow from this.

    Attributes:
        error: of the only job.
        failed: a line for each failed job of a sweep, by the name of its folder.
        close_sweep: rewrites the sweep's summary and returns the failures that its records tell of.
    """

    error: BaseException | None = None
    failed: dict[str, str] = field(default_factory=dict)
    close_sweep: Callable[[], dict[str, str]] | None = None

    def close(self) -> None:
        """Count the failures in the records as well: those of other processes are known from nowhere else."""
        close, self.close_sweep = self.close_sweep, None
        for name, line in close().items() if close else ():
            self.failed.setdefault(name, line)


_OUTCOME: ContextVar[Outcome] = ContextVar("streetlab_outcome")


@contextmanager
def collect_outcome() -> Iterator[Outcome]:
    """Collect the outcome of the command line that runs in the block."""
    outcome = Outcome()
    token = _OUTCOME.set(outcome)
    try:
        yield outcome
    finally:
        _OUTCOME.reset(token)


def current_outcome() -> Outcome:
    """Outcome of the running command line, for callbacks, which Hydra builds; a new one where none is collected."""
    return _OUTCOME.get(None) or Outcome()

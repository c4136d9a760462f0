"""Handle signals that end a training: record `interrupted`, and requeue a cluster's job."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from streetlab.process_rank import process_rank

_WARNINGS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def ends_as_ctrl_c() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does; all handlers are as before afterwards, for the next job of a sweep.

    In a job of submitit so do SIGUSR1 and SIGUSR2, by one of which the cluster warns that time is up. When the
    interrupted run has left its record, submitit's own handler is called: it stores the job, puts it in the queue
    again and ends the process. Called at the signal, as submitit would, it could be killed with the record half
    written.
    """
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if not received:  # a second signal does not cut the end short
            received.append(number)
            raise KeyboardInterrupt

    resubmit = _resubmit()
    with _handling(_WARNINGS if resubmit else (signal.SIGTERM,), interrupt):
        try:
            yield
        except KeyboardInterrupt:
            if resubmit and received and not (received[0] == signal.SIGTERM and _is_ending()):
                resubmit(received[0], None)
            raise


@contextmanager
def exit_as_ctrl_c() -> Iterator[None]:
    """Turn SystemExit, by which Lightning leaves after Ctrl-C, back into KeyboardInterrupt."""
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None


@contextmanager
def waits_for_the_first() -> Iterator[None]:
    """In a job of submitit, leave it to the first process to act on the cluster's signals, which all processes get.

    One that ended by itself could take the first along before that has written the record.
    """
    with _handling(_WARNINGS if process_rank().launcher == "submitit" else (), lambda number, frame: None):
        yield


@contextmanager
def _handling(numbers: Sequence[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Call `handler` on these signals; afterwards they, and Ctrl-C, which Lightning switches off, are as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *numbers)}
    if threading.current_thread() is not threading.main_thread():  # signals are somebody else's
        yield
        return
    for number in numbers:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, restored in before.items():
            signal.signal(number, restored)


def _resubmit() -> Callable[[int, Any], Any] | None:
    """The handler by which submitit puts this process's job in the queue again; None outside a job of submitit."""
    if process_rank().launcher != "submitit":
        return None
    from submitit import JobEnvironment

    handler = signal.getsignal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))
    return handler if callable(handler) else None


def _is_ending() -> bool:
    """Tell whether SLURM's SIGTERM is for a job that it has cancelled already, or requeued itself.

    `scancel` sends the same signal as a preemption does; but a preempted job runs until its grace time is over.
    """
    if os.environ["SUBMITIT_EXECUTOR"] != "slurm":
        return False
    ask = ["squeue", "--noheader", "--jobs", process_rank().job, "--format", "%T"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return True
    return "RUNNING" not in done.stdout.split()

"""Worker processes: each does the jobs that the server hands to it, with networks of its own.

A job has a connection of its own, over which its process reports progress and asks at every check whether to go on. So
turns, cancellation and expiry stay in the server, whichever process works.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.app.jobs.heaps import share_heaps, trim_heaps
from streetlab.errors import UserError
from streetlab.progress import Cancelled, LineFormatter

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.jobs.queue import Jobs
    from streetlab.app.models.catalog import Catalog
    from streetlab.app.settings import Settings

log = logging.getLogger(__name__)

_PATIENCE = 5.0
_BACKLOG = 64


class WorkerFault(Exception):  # noqa: N818  (its process has logged the traceback)
    """A job failed in its process."""


class WorkerProcesses:
    """`settings.workers` processes; does a job as `work.work` does, in the process of the number `job.worker`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: dict[int, tuple[SpawnProcess, Connection, str]] = {}
        self._starting = [threading.Lock() for _ in range(settings.workers)]

    def __call__(
        self,
        job: Job,
        catalog: Catalog,
        jobs: Jobs,
        report: Callable[[int, int | None], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """Do the job; arguments, result and errors are those of `work.work`.

        Raises:
            UserError: also where the process ends during the job; the next job gets a new one.
        """
        source = jobs.get(str(job.source)) if job.kind == "render" else None
        try:
            with Client(self._address(job.worker), authkey=_key()) as connection:
                connection.send((job, source))
                while True:
                    word, value = connection.recv()
                    if word == "done":
                        return value
                    if word == "failed":
                        raise value
                    if word == "check":
                        connection.send(cancelled())
                    else:
                        report(*value)
        except (EOFError, ConnectionError) as error:
            log.exception("worker process %s has ended", job.worker)
            raise UserError("the process that worked on this has ended, for want of memory perhaps") from error

    def start(self) -> None:
        """Start all processes, which load the libraries meanwhile; else each is started by its first job."""
        for number in range(self._settings.workers):
            self._address(number)

    def close(self) -> None:
        """End all processes."""
        for process, control, _ in self._running.values():
            control.close()
            process.terminate()
            process.join(_PATIENCE)
        self._running.clear()

    def _address(self, number: int) -> str:
        """Where the process listens; it is started if needed."""
        with self._starting[number]:
            if number in self._running and self._running[number][0].is_alive():
                return self._running[number][2]
            context = multiprocessing.get_context("spawn")
            control, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._settings), daemon=True)
            process.start()
            theirs.close()
            address = control.recv()
            self._running[number] = process, control, address
            return address


class _Source:
    """Stands in for `Jobs` in a process: knows the source of the job alone."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def get(self, _: str) -> Job:
        return self._job


def _key() -> bytes:
    return bytes(multiprocessing.current_process().authkey)


def _serve(control: Connection, settings: Settings) -> None:
    """Do jobs until the server ends, however that is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    share_heaps()
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("streetlab").addHandler(handler)

    with Listener(backlog=_BACKLOG, authkey=_key()) as listener:
        control.send(listener.address)
        threading.Thread(target=_end_with, args=(control, str(listener.address)), daemon=True).start()
        import torch

        from streetlab.app.models.catalog import Catalog

        torch.set_num_threads(max(1, torch.get_num_threads() // settings.workers))
        catalog = Catalog(settings)
        while True:
            with contextlib.suppress(OSError, EOFError, multiprocessing.AuthenticationError):
                threading.Thread(target=_do, args=(listener.accept(), catalog), daemon=True).start()


def _end_with(control: Connection, address: str) -> None:
    """End this process when the server's end of the connection is gone."""
    with contextlib.suppress(EOFError, OSError):
        control.recv()
    shutil.rmtree(Path(address).parent, ignore_errors=True)  # the folder that multiprocessing made for the socket
    os._exit(0)


def _do(connection: Connection, catalog: Catalog) -> None:
    from streetlab.app.jobs.work import work

    turn = threading.Lock()

    def report(done: int, total: int | None) -> None:
        with turn:
            connection.send(("report", (done, total)))

    def cancelled() -> bool:
        with turn:  # while one thread of the job waits for its turn, so do the others
            connection.send(("check", None))
            return bool(connection.recv())

    with connection, contextlib.suppress(OSError, EOFError):  # the server has ended
        job, source = connection.recv()
        answer: tuple[str, object]
        try:
            answer = ("done", work(job, catalog, _Source(source), report, cancelled))  # type: ignore[arg-type]
        except UserError as fault:
            answer = ("failed", UserError(str(fault)))
        except Cancelled:
            answer = ("failed", Cancelled())
        except BaseException as fault:
            log.exception("job %s (%s, model %s) failed", job.id, job.kind, job.model)
            memory = isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError"
            answer = ("failed", MemoryError() if memory else WorkerFault(type(fault).__name__))
        connection.send(answer)
        if job.kind != "photo":
            trim_heaps()

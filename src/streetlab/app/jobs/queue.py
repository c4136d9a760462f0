"""The queue of jobs: bounded, with one worker and results that expire.

There is one worker, because the settings name one device: a second worker would only slow both down. Ids cannot be
guessed; whoever has one may see, cancel and delete that job. There is no list of jobs.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streetlab.app.media.storage import Storage, cannot_store
from streetlab.app.settings import Settings
from streetlab.errors import UserError, first_line

log = logging.getLogger(__name__)

Kind = Literal["photo", "video", "render"]
State = Literal["queued", "running", "done", "partial", "failed", "cancelled"]
Report = Callable[[int, int | None], None]
"""Called with the units done and the total, None where it is unknown."""
Perform = Callable[["Job", Report, Callable[[], bool]], dict[str, Any]]
"""Do a job: report progress, check now and then for cancellation, return the result."""

ID = re.compile(r"[A-Za-z0-9_-]{20,40}")
ENDED = ("done", "partial", "failed", "cancelled")
_MOST_JOBS = 10_000
"""The most jobs kept in memory; the oldest that have ended are dropped, so that a flood of tiny ones is bounded too."""
_FIRST_PACE = 5.0
_LONGEST_WAIT = 600


class UnknownJob(UserError):  # noqa: N818  (what it is, not what went wrong)
    """No job has this id, or it has expired."""


class QueueFull(UserError):  # noqa: N818
    """The queue is full; a place is likely to be free after `retry_after` seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} jobs are waiting already; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass
class Progress:
    """Progress of a job; `began` and `first` are the time and count of the first report (after loading a network)."""

    done: int = 0
    total: int | None = None
    began: float | None = None
    first: int = 0
    now: float = 0.0

    def per_second(self) -> float | None:
        """Units per second since the first report; None before there are two reports."""
        if self.began is None or self.now <= self.began or self.done <= self.first:
            return None
        return (self.done - self.first) / (self.now - self.began)

    def seconds_left(self) -> float | None:
        """Seconds left at that rate; None where the rate or the total is unknown."""
        rate = self.per_second()
        return None if rate is None or self.total is None else max(self.total - self.done, 0) / rate


@dataclass(eq=False)
class Job:
    """One request of a visitor.

    Attributes:
        id: random, cannot be guessed; also the name of its folder.
        kind: a photo, a video, or the overlay of a finished job.
        name: the visitor's name for the file, cleaned; for showing only.
        model: id of a model of the catalog.
        options: those of the prediction, or the look of an overlay.
        folder: receives its results; no other job has it.
        upload: the uploaded file; several jobs may share it.
        source: the job whose upload or result this one uses.
        result: files and numbers, once it has ended well.
        error: one line, once it has failed.
        created, expires: seconds since 1970; `expires` once it has ended.
    """

    id: str
    kind: Kind
    name: str
    model: str
    options: dict[str, Any]
    folder: Path
    upload: Path | None = None
    source: str | None = None
    state: State = "queued"
    progress: Progress = field(default_factory=Progress)
    result: dict[str, Any] | None = None
    error: str | None = None
    created: float = field(default_factory=time.time)
    expires: float | None = None
    cancel_asked: bool = False
    holds: tuple[Path, ...] = ()
    """Files and folders that stay until this job is deleted."""


class Jobs:
    """All jobs of a server, in memory; safe to use from any thread."""

    def __init__(self, settings: Settings, perform: Perform) -> None:
        self.storage = Storage(settings.storage, settings.storage_bytes)
        self._most_waiting = settings.queue
        self._keep_seconds = settings.expire_minutes * 60
        self._perform = perform
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._pace: deque[float] = deque(maxlen=20)
        self._changed = threading.Condition(threading.RLock())
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def submit(
        self,
        kind: Kind,
        name: str,
        model: str,
        options: dict[str, Any],
        *,
        upload: Path | None = None,
        source: Job | None = None,
    ) -> Job:
        """Queue a job, which holds the upload and the folder of its source until it is deleted.

        Raises:
            QueueFull: too many wait already.
            UnknownJob: the source, or what it held, has been deleted.
        """
        with self._changed:
            self.refuse_if_full()
            if source is not None and (source.id not in self._jobs or not source.holds):
                raise UnknownJob("the job to start from has just been deleted")
            id_ = secrets.token_urlsafe(18)
            folder = self.storage.new_folder(id_)
            shared = tuple(path for path in (upload, source.folder if source else None) if path is not None)
            self.storage.hold(*shared)
            job = Job(
                id_, kind, name, model, options, folder, upload, source.id if source else None, holds=(folder, *shared)
            )
            self._jobs[id_] = job
            self._waiting.append(job)
            self._start_threads()
            self._changed.notify_all()
        return job

    def refuse_if_full(self) -> None:
        """Raise QueueFull where `submit` would; called before a long upload is taken in."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise QueueFull(len(self._waiting), self._retry_after())

    def get(self, id_: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJob: there is none, or it has expired.
        """
        with self._changed:
            job = self._jobs.get(id_)
            if job is None or (job.expires is not None and job.expires <= time.time()):
                raise UnknownJob("no such job; it may have expired")
            return job

    def position(self, job: Job) -> int | None:
        """Place in the queue, 1 for the next; None for a job that does not wait."""
        with self._changed:
            return self._waiting.index(job) + 1 if job in self._waiting else None

    def cancel(self, id_: str) -> Job:
        """Cancel a job that has not ended (its files go, its state stays until it expires); delete one that has.

        Raises:
            UnknownJob: as `get`.
        """
        with self._changed:
            job = self.get(id_)
            if job.state in ENDED:
                self._forget(job)
                return job
            job.cancel_asked = True
            if job in self._waiting:
                self._waiting.remove(job)
            self._end(job, "cancelled")
            if job is not self._running:
                self._let_go(job)  # else when the worker has left it
            return job

    def expire(self, now: float | None = None) -> None:
        """Delete the expired jobs; a thread calls this at intervals."""
        now = time.time() if now is None else now
        with self._changed:
            ended = [job for job in self._jobs.values() if job.expires is not None]
            surplus = max(len(self._jobs) - _MOST_JOBS, 0)
            for number, job in enumerate(ended):
                if number < surplus or (job.expires is not None and job.expires <= now):
                    self._forget(job)

    def first_expiry(self) -> int:
        """Seconds until the next job expires, for visitors who wait for storage."""
        with self._changed:
            times = [job.expires for job in self._jobs.values() if job.expires is not None]
        return max(1, math.ceil(min(times, default=time.time() + self._keep_seconds) - time.time()))

    def describe(self, job: Job) -> dict[str, Any]:
        """Describe a job for JSON, as a visitor sees it."""
        with self._changed:
            progress = job.progress
            return {
                "id": job.id,
                "kind": job.kind,
                "name": job.name,
                "model": job.model,
                "state": job.state,
                "position": self.position(job),
                "progress": {
                    "done": progress.done,
                    "total": progress.total,
                    "per_second": progress.per_second(),
                    "seconds_left": progress.seconds_left() if job.state == "running" else None,
                },
                "error": job.error,
                "expires": job.expires,
                "result": job.result,
            }

    def close(self, patience: float = 10.0) -> None:
        """Cancel all jobs and wait `patience` seconds for the worker; no job runs after that."""
        with self._changed:
            self._closed.set()
            self._waiting.clear()
            if self._running is not None:
                self._running.cancel_asked = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(patience)

    def _start_threads(self) -> None:
        if not self._threads:
            for name, target in (("streetlab-worker", self._work), ("streetlab-expiry", self._watch_expiry)):
                thread = threading.Thread(target=target, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _watch_expiry(self) -> None:
        while not self._closed.wait(min(30.0, self._keep_seconds / 4)):
            self.expire()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
                if self._closed.is_set():
                    return
                job = self._running = self._waiting.popleft()
                job.state = "running"
            started = time.monotonic()
            try:
                self._do(job)
            except BaseException:  # whatever a job raises, the next one is served
                log.exception("job %s: the record of its end failed", job.id)
            with self._changed:
                self._running = None
                self._pace.append(time.monotonic() - started)

    def _do(self, job: Job) -> None:
        result: dict[str, Any] | None = None
        error = None
        try:
            result = self._perform(job, lambda done, total: self._report(job, done, total), lambda: job.cancel_asked)
        except UserError as fault:
            error = first_line(fault)
        except BaseException as fault:  # also MemoryError and the errors of a network's library
            full = cannot_store(fault)
            if full is not None:
                log.error("job %s: %s", job.id, fault)
            elif not job.cancel_asked:
                log.exception("job %s (%s, model %s) failed", job.id, job.kind, job.model)
            error = first_line(full) if full is not None else _fault_line(fault)
        if result is None or job.cancel_asked:
            self.storage.empty(job.folder)
        else:
            self.storage.measure(job.folder)
        with self._changed:
            self._running = None  # from here on a DELETE deletes the job itself
            if job.cancel_asked:
                if job.state != "cancelled":  # the server stops
                    self._end(job, "cancelled")
                self._let_go(job)
            elif result is None:
                job.error = error
                self._end(job, "failed")
            else:
                job.result = result
                self._end(job, "partial" if result.get("broken") else "done")

    def _report(self, job: Job, done: int, total: int | None) -> None:
        now = time.monotonic()
        with self._changed:
            progress = job.progress
            if progress.began is None:
                progress.began, progress.first = now, done
            progress.done, progress.total, progress.now = done, total, now

    def _end(self, job: Job, state: State) -> None:
        job.state = state
        job.expires = time.time() + self._keep_seconds

    def _forget(self, job: Job) -> None:
        with contextlib.suppress(KeyError):
            del self._jobs[job.id]
        if job is not self._running:
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        holds, job.holds = job.holds, ()
        self.storage.release(*holds)

    def _retry_after(self) -> int:
        left = self._running.progress.seconds_left() if self._running else None
        if left is None:
            left = sum(self._pace) / len(self._pace) if self._pace else _FIRST_PACE
        return min(max(1, math.ceil(left)), _LONGEST_WAIT)


def _fault_line(fault: BaseException) -> str:
    """One line for the visitor about a fault of the server; the log has the traceback."""
    if isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError":
        return "not enough memory for this file with this model and these options; try the mode 'resized'"
    return f"the server failed on this file ({type(fault).__name__}); its log says more"

"""The queue of jobs: bounded, with turns between visitors and results that expire.

One job runs at a time unless `workers` says otherwise, because the settings name one device. Ids cannot be guessed;
whoever has one may see, cancel and delete that job. There is no list of jobs.
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
from pathlib import Path
from typing import Any

from streetlab.app.jobs.heaps import trim_heaps
from streetlab.app.jobs.job import ENDED, Job, Kind, Report, Size, State, clock
from streetlab.app.jobs.ledger import Ledger
from streetlab.app.jobs.turns import Turns
from streetlab.app.media.storage import Storage, cannot_store
from streetlab.app.settings import Settings
from streetlab.errors import UserError, first_line

log = logging.getLogger(__name__)

Perform = Callable[["Job", Report, Callable[[], bool]], dict[str, Any]]
"""Do a job: report progress, check often for cancellation, return the result. A check may last: until its next turn."""

ID = re.compile(r"[A-Za-z0-9_-]{20,40}")
_MOST_JOBS = 10_000
"""The most jobs kept in memory; the oldest that have ended are dropped, so that a flood of tiny ones is bounded too."""
_OPEN_LARGEST = 2
"""The jobs under way at once may have the pixels of so many of the largest allowed photos, their videos of frames."""
_FIRST_PACE = 5.0
_LONGEST_WAIT = 600


class UnknownJob(UserError):  # noqa: N818  (what it is, not what went wrong)
    """No job has this id, or it has expired."""


class QueueFull(UserError):  # noqa: N818
    """There is no place for the job now; one is likely to be free after `retry_after` seconds."""

    def __init__(self, line: str, retry_after: int) -> None:
        super().__init__(f"{line}; try again in {retry_after} s")
        self.retry_after = retry_after


class Jobs:
    """All jobs of a server, in memory; safe to use from any thread."""

    def __init__(self, settings: Settings, perform: Perform) -> None:
        self.storage = Storage(settings.storage, settings.storage_bytes)
        self._ledger = None if settings.folder is None else Ledger(settings.storage)
        self._most_waiting = settings.queue
        self._most_pixels = settings.visitor_pixels
        self._keep_seconds = settings.expire_minutes * 60
        self._perform = perform
        self._jobs: dict[str, Job] = {}
        most_pixels, most_of_videos = _OPEN_LARGEST * settings.pixels, _OPEN_LARGEST * settings.most_of_frame
        self._turns = Turns(most_pixels, most_of_videos, settings.workers)
        self._begun: deque[Job] = deque()
        self._idle = 0
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
        visitor: str = "",
        size: Size | None = None,
    ) -> Job:
        """Queue a job, which holds the upload and the folder of its source until it is deleted.

        Args:
            visitor: who takes turns with others.
            size: what its file decodes to; that of the source if left out.

        Raises:
            QueueFull: too many wait already, or the visitor's jobs under way have too many pixels with this one.
            UnknownJob: the source, or what it held, has been deleted.
        """
        with self._changed:
            self.refuse_if_full(visitor)
            size = size or (source.size if source else Size())
            self._refuse_beyond_budget(visitor, size)
            if source is not None and (source.id not in self._jobs or not source.holds):
                raise UnknownJob("the job to start from has just been deleted")
            id_ = secrets.token_urlsafe(18)
            folder = self.storage.new_folder(id_)
            shared = tuple(path for path in (upload, source.folder if source else None) if path is not None)
            self.storage.hold(*shared)
            job = Job(id_, kind, name, model, options, folder, upload, visitor=visitor, size=size)
            job.source, job.holds = source.id if source else None, (folder, *shared)
            self._jobs[id_] = job
            self._record(job)
            self._turns.add(job)
            self._watch()
            self._next_turn()
        return job

    def resume(self) -> str | None:
        """Go on with the jobs of a server that was killed; return a line about them, None where there are none.

        What waited waits again. What ran has failed, with a line that says so: it may be what ended the server.
        """
        if self._ledger is None:
            return None
        with self._changed:
            jobs = self._ledger.read()
            for job in jobs:
                self.storage.adopt(*job.holds)
                self._jobs[job.id] = job
            self.storage.clear()
            interrupted = [job for job in jobs if job.state == "running"]
            for job in interrupted:
                self.storage.empty(job.folder)
                job.error = "interrupted: the server was ended while it worked on this; try again"
                self._end(job, "failed")
            waiting = [job for job in jobs if job.state == "queued"]
            for job in waiting:
                self._turns.add(job)
            if jobs:
                self._watch()
                self._next_turn()
        if not jobs:
            return None
        waits, broken = len(waiting), len(interrupted)
        return f"of the server before: {len(jobs) - waits - broken} ended jobs, {waits} waiting, {broken} interrupted"

    def refuse_if_full(self, visitor: str = "") -> None:
        """Raise QueueFull where `submit` would; called before a long upload is taken in.

        Visitors who have nothing waiting find a place in a full queue, until it is twice as long: one visitor with
        many files shuts nobody out.
        """
        with self._changed:
            count = len(self._turns.waiting)
            waits = any(job.visitor == visitor for job in self._turns.waiting)
            if count >= (self._most_waiting if waits else 2 * self._most_waiting):
                raise QueueFull(f"{count} jobs are waiting already", self._retry_after())

    def _refuse_beyond_budget(self, visitor: str, size: Size) -> None:
        mine = [job for job in (*self._turns.open, *self._turns.waiting) if job.visitor == visitor]
        under_way = sum(job.size.total for job in mine)
        if mine and under_way + size.total > self._most_pixels:
            line = (
                f"what you have under way has {under_way / 1e6:,.0f} megapixels and this file "
                f"{size.total / 1e6:,.0f}, but {self._most_pixels / 1e6:,.0f} are the most of one visitor at a time"
            )
            raise QueueFull(line, self._retry_after())

    def get(self, id_: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJob: there is none, or it has expired.
        """
        with self._changed:
            job = self._jobs.get(id_)
            if job is None or (job.expires is not None and job.expires <= clock()):
                raise UnknownJob("no such job; it may have expired")
            return job

    def position(self, job: Job) -> int | None:
        """Place in the queue, 1 for the next; None for a job that does not wait."""
        with self._changed:
            return self._turns.position(job)

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
            if job in self._turns.waiting:
                self._turns.waiting.remove(job)
            self._end(job, "cancelled")
            if job not in self._turns.open:
                self._let_go(job)  # else when the worker has left it
            self._changed.notify_all()
            return job

    def expire(self, now: float | None = None) -> None:
        """Delete the expired jobs; a thread calls this at intervals."""
        now = clock() if now is None else now
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
        return max(1, math.ceil(min(times, default=clock() + self._keep_seconds) - clock()))

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
        """Cancel all jobs and wait `patience` seconds for the workers; no job runs after that."""
        with self._changed:
            self._closed.set()
            self._turns.waiting.clear()
            for job in self._turns.open:
                job.cancel_asked = True
            self._changed.notify_all()
        for thread in list(self._threads):
            thread.join(patience)

    def _watch(self) -> None:
        if not self._threads:
            self._start("streetlab-expiry", self._watch_expiry)

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch_expiry(self) -> None:
        while not self._closed.wait(min(30.0, self._keep_seconds / 4)):
            self.expire()

    def _next_turn(self) -> None:
        """Let the next jobs begin or go on, as far as workers are free."""
        while not self._closed.is_set() and (job := self._turns.next()) is not None:
            if job.state == "queued":
                job.state = "running"
                self._record(job)
                self._begun.append(job)
                if self._idle < len(self._begun):
                    self._start("streetlab-worker", self._work)
        self._changed.notify_all()

    def _go_on(self, job: Job, worker: threading.Thread) -> bool:
        """Return true if the job shall stop; false once it has the turn. Its own thread gives way here."""
        with self._changed:
            if threading.current_thread() is worker and self._turns.is_over(job):
                self._turns.give_way(job)
                self._next_turn()
            self._changed.wait_for(lambda: self._turns.has(job) or job.cancel_asked)
            return job.cancel_asked

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._begun or self._closed.is_set())
                self._idle -= 1
                if self._closed.is_set() and not self._begun:
                    return
                job = self._begun.popleft()
            started = time.monotonic()
            try:
                self._do(job)
            except BaseException:  # whatever a job raises, the next one is served
                log.exception("job %s: the record of its end failed", job.id)
            if job.kind != "photo":
                trim_heaps()
            with self._changed:
                self._turns.leave(job)
                self._pace.append(time.monotonic() - started)
                self._next_turn()

    def _do(self, job: Job) -> None:
        result: dict[str, Any] | None = None
        error = None
        worker = threading.current_thread()
        try:
            result = self._perform(
                job, lambda done, total: self._report(job, done, total), lambda: self._go_on(job, worker)
            )
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
            self._turns.leave(job)  # from here on a DELETE deletes the job itself
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
        job.expires = clock() + self._keep_seconds
        self._record(job)

    def _record(self, job: Job) -> None:
        if self._ledger is not None:
            self._ledger.write(job)

    def _forget(self, job: Job) -> None:
        with contextlib.suppress(KeyError):
            del self._jobs[job.id]
        if job not in self._turns.open:
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        if self._ledger is not None:
            self._ledger.remove(job)
        holds, job.holds = job.holds, ()
        self.storage.release(*holds)

    def _retry_after(self) -> int:
        known = [left for job in self._turns.open if (left := job.progress.seconds_left()) is not None]
        left = min(known, default=None)
        if left is None:
            left = sum(self._pace) / len(self._pace) if self._pace else _FIRST_PACE
        return min(max(1, math.ceil(left)), _LONGEST_WAIT)


def _fault_line(fault: BaseException) -> str:
    """One line for the visitor about a fault of the server; the log has the traceback."""
    if isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError":
        return "not enough memory for this file with this model and these options; try the mode 'resized'"
    return f"the server failed on this file ({type(fault).__name__}); its log says more"

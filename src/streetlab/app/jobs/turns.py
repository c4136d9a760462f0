"""Whose turn it is: visitors have equal shares of the time, and a long job gives way to the jobs of others.

A worker is given to one job at a time, for a slice of time. After its slice a job that is not done stands still, with
all its threads, until it is its visitor's turn again. So a video of hours delays a photo of another visitor by one
slice, and a visitor with a hundred photos delays one with a single photo by one photo.

This is start-time fair queueing (Goyal, Vin and Cheng, 1997): a turn begins at a virtual time, the next one of the same
visitor is due that many seconds later as this one took, and the turn that is due first is the next. Who had a turn of
ten seconds, because a check was long in coming, sits out until the others had as much.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable

from streetlab.app.jobs.job import Job

SLICE_SECONDS = 0.5
"""Of a turn, after which a job gives way at its next check; each check is a batch, a frame or a stage apart."""
_MOST_OPEN = 8
_MOST_VIDEOS = 4
"""Of the jobs that are under way at once: those that stand still keep their frames and encoders in memory."""


class Turns:
    """The order in which jobs run. Not locked: `Jobs` calls it under its own lock.

    Attributes:
        waiting: jobs that have not begun, as they came.
        open: jobs that have begun and not ended, at most one of each visitor with each worker.
    """

    def __init__(self, most_pixels: int, most_of_videos: int, workers: int = 1) -> None:
        """Bound the memory of the jobs under way.

        Args:
            most_pixels: of one photo or frame of each of them, all together.
            most_of_videos: the same of those of them that are videos.
            workers: how many jobs run at once; a job stays with the worker that began it.
        """
        self.waiting: deque[Job] = deque()
        self.open: list[Job] = []
        self._holders: list[Job | None] = [None] * workers
        self._since = [0.0] * workers
        self._most_pixels, self._most_of_videos = most_pixels, most_of_videos
        self._now = 0.0
        self._count = itertools.count()
        self._due: dict[str, tuple[float, int]] = {}

    def add(self, job: Job) -> None:
        """Let a job wait; a visitor without other jobs comes behind those whose turn is due now."""
        if all(job.visitor != other.visitor for other in (*self.open, *self.waiting)):
            self._set_due(job.visitor, 0.0)
        self.waiting.append(job)

    def next(self) -> Job | None:
        """Give the turn of a free worker to the visitor whose turn is due first; return the job that got it."""
        for worker, holder in enumerate(self._holders):
            job = self._candidate(worker) if holder is None else None
            if job is None:
                continue
            if job not in self.open:
                self.waiting.remove(job)
                self.open.append(job)
                job.worker = worker
            self._holders[worker], self._since[worker] = job, time.monotonic()
            self._now = max(self._now, self._due[job.visitor][0])
            return job
        return None

    def has(self, job: Job) -> bool:
        """True if it is this job's turn."""
        return self._holders[job.worker] is job

    def is_over(self, job: Job) -> bool:
        """True if this job has the turn, its slice is over, and another could go on."""
        over = self.has(job) and time.monotonic() - self._since[job.worker] >= SLICE_SECONDS
        return over and self._candidate(job.worker, but=job) is not None

    def give_way(self, job: Job) -> None:
        """Take the turn from a job that goes on later."""
        self._holders[job.worker] = None
        self._set_due(job.visitor, time.monotonic() - self._since[job.worker])

    def leave(self, job: Job) -> None:
        """Forget a job that has ended."""
        if job in self.open:
            self.open.remove(job)
        if self.has(job):
            self.give_way(job)
        present = {other.visitor for other in (*self.open, *self.waiting)}
        self._due = {who: due for who, due in self._due.items() if who in present or due[0] > self._now}

    def position(self, job: Job) -> int | None:
        """Place among those that wait, 1 for the next to begin; None for a job that does not wait."""
        return self._order().index(job) + 1 if job in self.waiting else None

    def _candidate(self, worker: int, but: Job | None = None) -> Job | None:
        begun = [job for job in self.open if job is not but and job.worker == worker]
        waiting = [job for job in self._order() if self._may_begin(job, worker)][:1]
        return min([*waiting, *begun], key=self._turn, default=None)

    def _set_due(self, visitor: str, seconds: float) -> None:
        """Set the next turn of a visitor, whose last one took so long; of turns due at once the first set is first."""
        due = self._due.get(visitor, (0.0, 0))[0] + seconds
        self._due[visitor] = max(due, self._now), next(self._count)

    def _turn(self, job: Job) -> tuple[float, int]:
        return self._due[job.visitor]

    def _may_begin(self, job: Job, worker: int) -> bool:
        if any(job.visitor == other.visitor and worker == other.worker for other in self.open):
            return False
        together = [*self.open, job]
        videos = [other for other in together if other.kind != "photo"]
        return len(together) == 1 or (
            len(together) <= _MOST_OPEN
            and len(videos) <= _MOST_VIDEOS
            and _pixels(together) <= self._most_pixels
            and (job.kind == "photo" or _pixels(videos) <= self._most_of_videos)
        )

    def _order(self) -> list[Job]:
        """Those that wait: the first of each visitor, then the second of each, and so on."""
        before = Counter(job.visitor for job in self.open)
        rounds: dict[str, tuple[int, tuple[float, int], int]] = {}
        for arrival, job in enumerate(self.waiting):
            rounds[job.id] = (before[job.visitor], self._turn(job), arrival)
            before[job.visitor] += 1
        return sorted(self.waiting, key=lambda job: rounds[job.id])


def _pixels(jobs: Iterable[Job]) -> int:
    return sum(job.size.pixels for job in jobs)

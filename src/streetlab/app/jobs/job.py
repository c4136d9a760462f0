"""One request of a visitor: its state, progress and files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["photo", "video", "render"]
State = Literal["queued", "running", "done", "partial", "failed", "cancelled"]
Report = Callable[[int, int | None], None]
"""Called with the units done and the total, None where it is unknown."""
ENDED = ("done", "partial", "failed", "cancelled")


_STARTED = time.time() - time.monotonic()


def clock() -> float:
    """Seconds since 1970, as this process began to count them: a clock that is set meanwhile moves no expiry."""
    return _STARTED + time.monotonic()


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


@dataclass(frozen=True)
class Size:
    """What an upload decodes to.

    Attributes:
        pixels: of the photo or of one frame.
        frames: 1 for a photo; for a video as many as its file announces, or as may be read where it does not say.
    """

    pixels: int = 0
    frames: int = 1

    @property
    def total(self) -> int:
        """Pixels of all frames together."""
        return self.pixels * self.frames


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
        visitor: who asked, see `routes.visitors`; visitors take turns.
        size: what its file decodes to.
        worker: the number of the worker that does it, from when it begins.
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
    visitor: str = ""
    size: Size = Size()
    worker: int = 0
    state: State = "queued"
    progress: Progress = field(default_factory=Progress)
    result: dict[str, Any] | None = None
    error: str | None = None
    created: float = field(default_factory=clock)
    expires: float | None = None
    cancel_asked: bool = False
    holds: tuple[Path, ...] = ()
    """Files and folders that stay until this job is deleted."""

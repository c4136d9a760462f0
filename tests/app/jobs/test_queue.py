"""The queue: bounded, fair, hard to kill, and forgetful."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.app_stand_ins import StandInWork, wait_for

from streetlab.app.jobs.job import Job
from streetlab.app.jobs.queue import Jobs, QueueFull, UnknownJob
from streetlab.app.media.storage import StorageFull
from streetlab.app.settings import Settings
from streetlab.errors import UserError


class Bench:
    """Jobs whose work is a function of the test; `work.gate` holds it up."""

    def __init__(self, storage: Path, **settings: Any) -> None:
        self.work = StandInWork()
        self.act: Callable[[Job, Any], dict[str, Any]] = lambda job, report: {}
        self.jobs = Jobs(Settings(storage=storage, **settings), self._perform)

    def _perform(self, job: Job, report: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        (job.folder / "half").write_bytes(b"x" * 100)
        self.work.begun.set()
        while not self.work.gate.wait(0.01):
            if cancelled():
                raise RuntimeError("stopped")
        return self.act(job, report)

    def submit(self, name: str = "a", **named: Any) -> Job:
        return self.jobs.submit("photo", name, "model", {}, **named)

    def ended(self, job: Job) -> Job:
        wait_for(lambda: job.state not in ("queued", "running"))
        return job


@pytest.fixture
def bench(tmp_path: Path):
    made = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.work.gate.set()
        one.jobs.close()


def _held_up(one: Bench) -> Job:
    """A job that runs until the gate opens."""
    one.work.gate.clear()
    first = one.submit("first")
    assert one.work.begun.wait(60)
    return first


def test_jobs_are_done_in_the_order_of_their_coming_and_know_their_position(bench):
    one = bench()
    order = []
    one.act = lambda job, report: order.append(job.name) or {}
    _held_up(one)
    rest = [one.submit(name) for name in "bcd"]
    assert [one.jobs.position(job) for job in rest] == [1, 2, 3]
    one.jobs.cancel(rest[0].id)
    assert [one.jobs.position(job) for job in rest] == [None, 1, 2]
    one.work.gate.set()
    one.ended(rest[-1])
    assert order == ["first", "c", "d"]


def test_a_full_queue_refuses_with_a_time_and_takes_more_once_there_is_room(bench):
    one = bench(queue=2)
    _held_up(one)
    one.submit("b"), one.submit("c")
    with pytest.raises(QueueFull, match="2 jobs are waiting already") as refused:
        one.submit("d")
    assert 1 <= refused.value.retry_after <= 600
    assert len(list((one.jobs.storage.folder / "jobs").iterdir())) == 3, "a refused job left a folder"
    one.work.gate.set()
    wait_for(lambda: not one.jobs._turns.waiting)
    assert one.ended(one.submit("d")).state == "done"


def test_the_time_to_come_back_follows_the_measured_pace(bench):
    one = bench(queue=1)
    one.jobs._pace.extend([41.0, 43.0])
    _held_up(one)
    one.submit()
    with pytest.raises(QueueFull) as refused:
        one.submit()
    assert refused.value.retry_after == 42


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (UserError("the photo is upside down"), "the photo is upside down"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA error at /secret/path"), r"the server failed on this file \(RuntimeError\)"),
        (SystemExit(3), r"the server failed on this file \(SystemExit\)"),
        (KeyboardInterrupt(), r"the server failed on this file \(KeyboardInterrupt\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_job_that_fails_says_why_leaves_nothing_and_the_next_is_served(bench, fault, line):
    one = bench()

    def act(job: Job, report: Any) -> dict[str, Any]:
        if job.name == "bad":
            raise fault
        return {}

    one.act = act
    bad, good = one.submit("bad"), one.submit("good")
    assert one.ended(bad).state == "failed"
    assert re.search(line, bad.error or "")
    assert "/secret" not in (bad.error or "")
    assert not list(bad.folder.iterdir()), "what it had half written is still there"
    assert one.ended(good).state == "done"


def test_cancelling_stops_a_running_job_and_deletes_its_files(bench):
    one = bench()
    job = _held_up(one)
    after = one.submit("after")
    assert one.jobs.cancel(job.id).state == "cancelled"
    one.jobs.cancel(job.id)  # ended now: deletes the record too
    with pytest.raises(UnknownJob):
        one.jobs.get(job.id)
    wait_for(lambda: not job.folder.exists())
    one.work.gate.set()
    assert one.ended(after).state == "done"


def test_a_job_that_ends_while_it_is_cancelled_stays_cancelled(bench):
    one = bench()

    def act(job: Job, report: Any) -> dict[str, Any]:
        one.jobs.cancel(job.id)
        return {"files": {}}

    one.act = act
    job = one.submit()
    wait_for(lambda: not job.folder.exists())
    assert job.state == "cancelled"
    assert job.result is None


def test_two_jobs_share_an_upload_until_the_last_is_deleted(bench):
    one = bench()
    upload = one.jobs.storage.new_upload()
    upload.write_bytes(b"photo")
    first = one.ended(one.submit(upload=upload))
    one.jobs.storage.release(upload)  # as the server does, once the job holds it
    second = one.ended(one.submit(upload=upload, source=first))
    one.jobs.cancel(first.id)
    assert upload.exists()
    assert first.folder.exists(), "the second job uses the first one's result"
    one.jobs.cancel(second.id)
    assert not upload.exists()
    assert not first.folder.exists()
    assert not second.folder.exists()


def test_what_a_cancelled_job_held_cannot_be_asked_again(bench):
    one = bench()
    _held_up(one)
    upload = one.jobs.storage.new_upload()
    upload.write_bytes(b"photo")
    waiting = one.submit(upload=upload)
    one.jobs.storage.release(upload)
    one.jobs.cancel(waiting.id)
    assert not upload.exists()
    with pytest.raises(UnknownJob, match="deleted"):
        one.submit(upload=upload, source=waiting)


def test_a_clock_that_is_set_ahead_expires_nothing(bench, monkeypatch):
    one = bench(expire_minutes=1)
    done, ahead = one.ended(one.submit()), time.time() + 400 * 86_400
    monkeypatch.setattr(time, "time", lambda: ahead)
    one.jobs.expire()
    assert one.jobs.get(done.id) is done
    assert done.folder.exists()
    after = one.ended(one.submit())
    assert after.expires - done.expires < 60


def test_jobs_and_their_files_expire_but_those_that_run_do_not(bench):
    one = bench(expire_minutes=1)
    done = one.ended(one.submit())
    running = _held_up(one)
    one.jobs.expire(time.time() + 50)
    assert done.folder.exists()
    one.jobs.expire(time.time() + 70)
    assert not done.folder.exists()
    with pytest.raises(UnknownJob):
        one.jobs.get(done.id)
    assert one.jobs.get(running.id) is running


def test_expired_jobs_are_gone_without_anyone_asking(bench):
    one = bench(expire_minutes=0.2 / 60)
    job = one.submit()
    wait_for(lambda: not job.folder.exists())
    with pytest.raises(UnknownJob):
        one.jobs.get(job.id)


def test_progress_has_a_rate_and_a_time_left(bench, monkeypatch):
    one = bench()
    now = [100.0]
    seen = {}

    def act(job: Job, report: Any) -> dict[str, Any]:
        monkeypatch.setattr("streetlab.app.jobs.queue.time.monotonic", lambda: now[0])
        report(0, 50)
        now[0] += 2
        report(10, 50)
        seen.update(one.jobs.describe(job)["progress"])
        monkeypatch.undo()
        return {}

    one.act = act
    one.ended(one.submit())
    assert seen == {"done": 10, "total": 50, "per_second": 5.0, "seconds_left": 8.0}


def test_storage_counts_uploads_and_results_and_frees_them(bench):
    one = bench(storage_bytes=250)
    storage = one.jobs.storage
    job = one.ended(one.submit())
    assert storage.bytes == 100
    upload = storage.new_upload()
    storage.charge(upload, 150)
    with pytest.raises(StorageFull, match="storage is full"):
        storage.charge(upload, 1)
    one.jobs.cancel(job.id)
    storage.charge(upload, 1)
    storage.release(upload)
    assert storage.bytes == 0


def test_closing_cancels_what_runs_and_forgets_what_waits(bench):
    one = bench()
    running = _held_up(one)
    waiting = one.submit()
    one.jobs.close(patience=60)
    assert running.state == "cancelled"
    assert waiting.state == "queued"
    assert not any(thread.is_alive() for thread in one.jobs._threads)

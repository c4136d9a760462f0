"""Turns: a visitor with much to do delays the others by a moment, not by all of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.app_stand_ins import wait_for

from streetlab.app.jobs.job import Job, Kind, Size
from streetlab.app.jobs.queue import Jobs, QueueFull
from streetlab.app.jobs.turns import Turns
from streetlab.app.settings import Settings
from streetlab.progress import Cancelled


class Street:
    """Jobs that take as many steps of some milliseconds as their name says, with a check before each."""

    def __init__(self, storage: Path, **settings: Any) -> None:
        self.jobs = Jobs(Settings(storage=storage, **settings), self._perform)
        self.steps: list[str] = []
        self.at_once: list[int] = []
        self._running: set[str] = set()

    def _perform(self, job: Job, report: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        helper = threading.Thread(target=self._aside, args=(job, cancelled))
        helper.start()
        try:
            for _ in range(int(job.name)):
                if cancelled():
                    raise Cancelled
                self._running.add(job.id)
                self.at_once.append(len(self._running))
                time.sleep(0.005)
                self._running.discard(job.id)
                self.steps.append(job.visitor)
        finally:
            helper.join()
        return {}

    def _aside(self, job: Job, cancelled: Callable[[], bool]) -> None:
        """A second thread of the job, as decoding is: it may not give the turn away under the first one's feet."""
        for _ in range(3):
            cancelled()

    def submit(self, visitor: str, steps: int, kind: Kind = "photo", size: Size | None = None) -> Job:
        return self.jobs.submit(kind, str(steps), "model", {}, visitor=visitor, size=size)

    def ended(self, *jobs: Job) -> None:
        wait_for(lambda: all(job.state not in ("queued", "running") for job in jobs))


@pytest.fixture
def street(tmp_path, monkeypatch):
    monkeypatch.setattr("streetlab.app.jobs.turns.SLICE_SECONDS", 0.03)
    made = []

    def make(**settings: Any) -> Street:
        made.append(Street(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.jobs.close()


def test_a_long_video_gives_way_to_another_visitor_and_goes_on_after(street):
    one = street()
    long = one.submit("a", 400, "video")
    wait_for(lambda: "a" in one.steps)
    short = one.submit("b", 2)
    one.ended(short)
    assert long.state == "running", "the photo waited for the end of the video"
    one.jobs.cancel(long.id)
    one.ended(long)
    wait_for(lambda: not long.folder.exists())


def test_a_job_that_has_given_way_is_done_in_full_and_one_runs_at_a_time(street):
    one = street()
    jobs = [one.submit(visitor, 40, "video") for visitor in "abc"]
    one.ended(*jobs)
    assert [job.state for job in jobs] == ["done"] * 3
    assert sorted(one.steps) == ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    assert max(one.at_once) == 1
    changes = sum(before != after for before, after in zip(one.steps, one.steps[1:], strict=False))
    assert changes > 5, "each ran to its end in one go"


def test_a_hundred_photos_of_one_visitor_do_not_stand_before_the_one_of_another(street):
    one = street(queue=50)
    many = [one.submit("a", 4) for _ in range(30)]
    last = one.submit("b", 1)
    assert one.jobs.position(last) in (1, 2)
    one.ended(last)
    assert sum(job.state == "done" for job in many) <= 3
    positions = [one.jobs.position(job) for job in many if job.state == "queued"]
    assert positions == sorted(positions), "a visitor's own files keep their order"


def test_a_visitor_with_nothing_waiting_finds_a_place_in_a_full_queue(street):
    one = street(queue=2)
    for _ in range(3):
        one.submit("a", 100)
    with pytest.raises(QueueFull, match="jobs are waiting already; try again in"):
        one.submit("a", 1)
    one.submit("b", 1)
    one.submit("c", 1)
    with pytest.raises(QueueFull, match="4 jobs are waiting already"):
        one.submit("d", 1)


def test_photos_begin_although_as_many_videos_as_may_stand_still_do(street):
    one = street()
    videos = [one.submit(f"v{number}", 400, "video") for number in range(6)]
    wait_for(lambda: sum(job.state == "running" for job in videos) == 4)
    photo = one.submit("b", 2)
    one.ended(photo)
    assert [job.state for job in videos] == ["running"] * 4 + ["queued"] * 2
    for job in videos:
        one.jobs.cancel(job.id)


def test_what_stands_still_is_bounded_by_its_pixels(street):
    one = street(pixels=100)
    large = [one.submit(f"v{number}", 400, size=Size(90)) for number in range(3)]
    wait_for(lambda: sum(job.state == "running" for job in large) == 2)
    small = one.submit("b", 2, size=Size(20))
    one.ended(small)
    assert [job.state for job in large] == ["running", "running", "queued"]
    for job in large:
        one.jobs.cancel(job.id)


def test_the_pixels_of_a_visitor_s_jobs_are_bounded_together_and_free_again_at_their_end(street):
    one = street(visitor_pixels=1_000_000_000)
    first = one.submit("a", 400, "video", Size(2_000_000, 400))
    with pytest.raises(QueueFull) as refused:
        one.submit("a", 1, "video", Size(2_000_000, 101))
    line = (
        "what you have under way has 800 megapixels and this file 202, but 1,000 are the most of one visitor at a time"
    )
    assert str(refused.value).startswith(f"{line}; try again in ")
    one.submit("a", 1, size=Size(2_000_000))
    one.submit("b", 1, "video", Size(2_000_000, 500))
    one.jobs.cancel(first.id)
    wait_for(lambda: not first.folder.exists())
    one.ended(one.submit("a", 1, "video", Size(2_000_000, 400)))


def test_with_two_workers_two_jobs_run_at_once_and_long_ones_give_way_on_both(street):
    one = street(workers=2)
    long = [one.submit("a", 400, "video") for _ in range(2)]
    wait_for(lambda: all(job.state == "running" for job in long))
    assert {job.worker for job in long} == {0, 1}
    short = [one.submit(visitor, 2) for visitor in "bcd"]
    one.ended(*short)
    assert [job.state for job in long] == ["running"] * 2
    assert max(one.at_once) == 2
    for job in long:
        one.jobs.cancel(job.id)


def test_visitors_have_equal_shares_of_the_time_however_long_a_turn_of_one_lasts(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("streetlab.app.jobs.turns.time", SimpleNamespace(monotonic=lambda: clock[0]))
    turns, lasts, had = Turns(10**9, 10**9), {"bomb": 6.0, "video": 0.6, "slow": 1.5}, Counter[str]()
    for visitor in lasts:
        turns.add(Job(visitor, "video", "", "", {}, tmp_path, visitor=visitor))
    for _ in range(400):
        job = turns.next()
        assert job is not None
        clock[0] += lasts[job.visitor]
        had[job.visitor] += lasts[job.visitor]
        if clock[0] > 200:
            # the bound of start-time fair queueing between two that always want a turn: their longest turns together
            assert all(abs(had[a] - had[b]) <= lasts[a] + lasts[b] + 1e-9 for a in had for b in had)
        turns.give_way(job)


def test_a_visitor_who_had_long_turns_is_not_first_again_by_sending_anew(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("streetlab.app.jobs.turns.time", SimpleNamespace(monotonic=lambda: clock[0]))
    turns = Turns(10**9, 10**9)

    def send(visitor: str) -> None:
        turns.add(Job(f"{visitor}{clock[0]}", "photo", "", "", {}, tmp_path, visitor=visitor))

    order = []
    for visitor in ("long", "a", "b"):
        send(visitor)
    for _ in range(9):
        job = turns.next()
        assert job is not None
        order.append(job.visitor)
        clock[0] += 2.0 if job.visitor == "long" else 0.5
        turns.leave(job)
        send(job.visitor)
    assert order == ["long", "a", "b", "a", "b", "a", "b", "a", "b"]

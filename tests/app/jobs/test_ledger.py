"""A server that was killed: the next one on its folder goes on, and says what was interrupted."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.app_stand_ins import tree, wait_for

from streetlab.app.jobs.job import Job, Size
from streetlab.app.jobs.queue import Jobs, UnknownJob
from streetlab.app.settings import Settings


class Killed:
    """A server whose folder is copied while it works: the copy is what a kill leaves behind."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.begun = threading.Event(), threading.Event()
        self.settings = Settings(storage=folder, folder=folder)
        folder.mkdir()
        self.jobs = Jobs(self.settings, self._perform)

    def _perform(self, job: Job, report: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        (job.folder / "photo.jpg").write_bytes(b"picture")
        if job.name == "stuck":
            self.begun.set()
            self.gate.wait(60)
        return {"files": {"photo": f"/api/jobs/{job.id}/files/photo.jpg"}, "shares": [0.25, 0.75]}

    def submit(self, name: str, **named: Any) -> Job:
        upload = self.jobs.storage.new_upload()
        upload.write_bytes(name.encode())
        job = self.jobs.submit("photo", name, "model", {"flip": True}, upload=upload, size=Size(5, 2), **named)
        self.jobs.storage.release(upload)
        return job

    def ended(self, job: Job) -> Job:
        wait_for(lambda: job.state not in ("queued", "running"))
        return job


@pytest.fixture
def killed(tmp_path):
    server = Killed(tmp_path / "first")
    yield server
    server.gate.set()
    server.jobs.close()


def restarted(killed: Killed, folder: Path) -> tuple[Jobs, list[str], str | None]:
    """The jobs of a server on a copy of the folder, what it did, and its line."""
    shutil.copytree(killed.settings.storage, folder)
    performed: list[str] = []

    def perform(job: Job, report: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        assert job.upload is not None
        performed.append(job.upload.read_text())
        return {}

    jobs = Jobs(Settings(storage=folder, folder=folder), perform)
    return jobs, performed, jobs.resume()


def test_what_was_done_is_there_what_waited_is_done_and_what_ran_is_named(killed, tmp_path):
    done = killed.ended(killed.submit("done"))
    stuck = killed.submit("stuck", visitor="a")
    assert killed.begun.wait(60)
    waiting = [killed.submit(name, visitor="a") for name in ("one", "two")]
    (killed.settings.storage / "uploads" / "half").write_bytes(b"half an upload")
    jobs, performed, line = restarted(killed, tmp_path / "second")
    try:
        assert line == "of the server before: 1 ended jobs, 2 waiting, 1 interrupted"
        again = jobs.get(done.id)
        assert (again.state, again.result, again.options) == ("done", done.result, {"flip": True})
        assert (again.folder / "photo.jpg").read_bytes() == b"picture"
        assert (again.size, again.visitor, again.expires) == (Size(5, 2), "", done.expires)
        one = jobs.get(stuck.id)
        assert (one.state, one.error) == (
            "failed", "interrupted: the server was ended while it worked on this; try again",
        )  # fmt: skip
        assert list(one.folder.iterdir()) == []
        assert one.upload is not None, "it can be asked again without being sent"
        assert one.upload.read_text() == "stuck"
        wait_for(lambda: performed == ["one", "two"])
        wait_for(lambda: all(jobs.get(job.id).state == "done" for job in waiting))
        assert not (tmp_path / "second" / "uploads" / "half").exists(), "half an upload is still there"
        assert jobs.storage.bytes == sum(len(name) for name in ("done", "stuck", "one", "two", "picture"))
    finally:
        jobs.close()


def test_damaged_records_and_those_without_files_are_left_out(killed, tmp_path):
    jobs = [killed.ended(killed.submit(name)) for name in ("a", "b", "c")]
    records = killed.settings.storage / "records"
    (records / f"{jobs[0].id}.json").write_text("{")
    shutil.rmtree(jobs[1].folder)
    (records / ".half.json.tmp").write_text("{}")
    after, _, line = restarted(killed, tmp_path / "second")
    assert line == "of the server before: 1 ended jobs, 0 waiting, 0 interrupted"
    with pytest.raises(UnknownJob):
        after.get(jobs[0].id)
    assert after.get(jobs[2].id).state == "done"
    after.cancel(jobs[2].id)
    assert tree(tmp_path / "second") == {"uploads", "jobs", "records"}
    after.close()


def test_without_a_folder_of_its_own_a_server_keeps_no_records(tmp_path):
    jobs = Jobs(Settings(storage=tmp_path), lambda job, report, cancelled: {})
    assert jobs.resume() is None
    assert tree(tmp_path) == {"uploads", "jobs"}

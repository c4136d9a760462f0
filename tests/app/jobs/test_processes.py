"""Worker processes: the same answers as without them, and the server outlives them."""

from __future__ import annotations

import os
import signal
import time

import pytest
from starlette.testclient import TestClient
from tests.support.app_stand_ins import HOST, photo_bytes, wait_for
from tests.support.videos import make_video

from streetlab.app.models.catalog import Catalog
from streetlab.app.server import create_app
from streetlab.app.settings import Settings

pytestmark = pytest.mark.slow


def test_two_processes_share_the_queue_give_the_same_answers_and_one_that_dies_is_replaced(segmenter, tmp_path):
    masks = {}
    video = make_video(tmp_path / "long.mp4", frames=4000, size=(96, 128)).read_bytes()
    for workers in (1, 2):
        storage = tmp_path / f"storage{workers}"
        settings = Settings(storage=storage, runs=tmp_path / "runs", device="cpu", workers=workers)
        app = create_app(settings, Catalog(settings))
        with TestClient(app, base_url=f"http://{HOST}") as client:
            (model,) = (entry["id"] for entry in client.get("/api/models").json()["models"])

            def send(content: bytes, client: TestClient = client, model: str = model) -> str:
                answer = client.post("/api/predict", params={"model": model}, content=content)
                assert answer.status_code == 202, answer.text
                return answer.json()["url"]

            def ended(url: str, client: TestClient = client) -> dict:
                wait_for(lambda: client.get(url).json()["state"] not in ("queued", "running"), 300)
                return client.get(url).json()

            jobs = [ended(url) for url in [send(photo_bytes(seed, (64, 48))) for seed in range(4)]]
            assert [job["state"] for job in jobs] == ["done"] * 4
            masks[workers] = [client.get(job["result"]["files"]["ids"]).content for job in jobs]
            if workers == 1:
                continue
            bad = ended(send(video[: len(video) // 2]))
            assert bad["state"] in ("partial", "failed")
            long = [send(video) for _ in range(2)]
            wait_for(lambda long=long: all(client.get(url).json()["progress"]["done"] > 0 for url in long), 300)
            pids = [process.pid for process, _, _ in app.state.processes._running.values()]
            assert len(set(pids)) == 2
            os.kill(pids[0], signal.SIGKILL)
            wait_for(lambda long=long: "failed" in [client.get(url).json()["state"] for url in long], 300)
            lines = [client.get(url).json()["error"] for url in long]
            assert "the process that worked on this has ended, for want of memory perhaps" in lines
            for url in long:
                client.delete(url)
            assert ended(send(photo_bytes(9, (64, 48))))["state"] == "done"
            pids = [process.pid for process, _, _ in app.state.processes._running.values()]
        wait_for(lambda pids=pids: not any(_is_alive(pid) for pid in pids), 60)
    assert masks[1] == masks[2]


def _is_alive(pid: int) -> bool:
    time.sleep(0.01)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

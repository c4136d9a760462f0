"""A server that is killed and started again on the same folder and port, as a visitor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.app_stand_ins import photo_bytes, wait_for
from tests.support.videos import make_video

from streetlab.app.command import listen

pytestmark = pytest.mark.slow
PATIENCE = 300.0


def _start(folder: Path, port: int) -> subprocess.Popen[str]:
    words = [f"port={port}", "folder=kept", "runs=runs", "device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "streetlab", "app", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "streetlab app: http" in process.stdout.readline()
    return process


def test_after_a_kill_photos_are_there_waiting_ones_are_done_and_the_video_is_named(segmenter, tmp_path):
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    video = make_video(tmp_path / "long.mp4", frames=3000, size=(96, 128)).read_bytes()
    first = _start(tmp_path, port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            (model,) = (entry["id"] for entry in client.get("/api/models").json()["models"])

            def send(content: bytes) -> str:
                answer = client.post("/api/predict", params={"model": model}, content=content)
                assert answer.status_code == 202, answer.text
                return answer.json()["url"]

            def state(url: str) -> str:
                return client.get(url).json()["state"]

            done = send(photo_bytes(1, (64, 48)))
            wait_for(lambda: state(done) == "done", PATIENCE)
            files = client.get(done).json()["result"]["files"]
            mask = client.get(files["ids"]).content
            running = send(video)
            wait_for(lambda: client.get(running).json()["progress"]["done"] > 0, PATIENCE)
            waiting = send(photo_bytes(2, (64, 48)))
            assert state(waiting) == "queued", "it comes from the same address"
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE)
        second = _start(tmp_path, port)
        try:
            assert second.stdout is not None
            assert second.stdout.readline() == "of the server before: 1 ended jobs, 1 waiting, 1 interrupted\n"
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                assert client.get(files["ids"]).content == mask
                job = client.get(running).json()
                assert job["state"] == "failed"
                assert job["error"].startswith("interrupted: the server was ended while it worked on this")
                wait_for(lambda: client.get(waiting).json()["state"] == "done", PATIENCE)
                again = client.post("/api/predict", params={"model": model, "source": running.rpartition("/")[2]})
                assert again.status_code == 202, "the video need not be sent again"
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE) == 0
            assert list((tmp_path / "kept").iterdir()) == []
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()

"""A tiny video of many huge frames keeps its sender busy, and nobody else."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.support.app_stand_ins import HOST, wait_for

from streetlab.app.models.catalog import Catalog
from streetlab.app.server import create_app
from streetlab.app.settings import Settings

pytestmark = pytest.mark.slow


def black_video(path: Path, side: int, frames: int) -> bytes:
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "1000"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(side, side, "yuv420p")
        for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        for number in range(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def photo(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_others_are_answered_while_a_bomb_is_at_work(segmenter, tmp_path):
    settings = Settings(storage=tmp_path / "storage", runs=tmp_path / "runs", device="cpu", batch_size=4)
    app = create_app(settings, Catalog(settings))
    bomb = black_video(tmp_path / "bomb.mp4", 1536, 200)
    assert len(bomb) < 100_000, "it is no bomb"
    with TestClient(app, base_url=f"http://{HOST}") as sender, TestClient(app, base_url=f"http://{HOST}") as other:
        for client in (sender, other):
            client.get("/")  # both get a name
        (model,) = (entry["id"] for entry in other.get("/api/models").json()["models"])

        def upload(client: TestClient, content: bytes) -> str:
            answer = client.post("/api/predict", params={"model": model}, content=content)
            assert answer.status_code == 202, answer.text
            return answer.json()["url"]

        heavy = upload(sender, bomb)
        wait_for(lambda: sender.get(heavy).json()["progress"]["done"] > 0)
        for seed in range(5):
            before = sender.get(heavy).json()["progress"]["done"]
            mine = upload(other, photo(seed))
            wait_for(lambda mine=mine: other.get(mine).json()["state"] not in ("queued", "running"))
            assert other.get(mine).json()["state"] == "done"
            after = sender.get(heavy).json()
            assert after["state"] == "running", "the photo waited for the end of the bomb"
            assert after["progress"]["done"] - before <= 20, "a slice of the bomb is longer than a moment"
        sender.delete(heavy)
        wait_for(lambda: not app.state.jobs._turns.open)

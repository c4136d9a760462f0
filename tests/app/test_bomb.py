"""A tiny video of many huge frames keeps its sender busy, and nobody else."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.support.app_stand_ins import HOST, photo_bytes, wait_for
from tests.support.videos import make_video

from streetlab.app.models.catalog import Catalog
from streetlab.app.server import create_app
from streetlab.app.settings import Settings

pytestmark = pytest.mark.slow


def test_others_are_answered_while_a_bomb_is_at_work(segmenter, tmp_path):
    settings = Settings(storage=tmp_path / "storage", runs=tmp_path / "runs", device="cpu", batch_size=4)
    app = create_app(settings, Catalog(settings))
    black = np.zeros((1280, 1280, 3), np.uint8)
    bomb = make_video(tmp_path / "bomb.mp4", pictures=[black] * 200, size=black.shape[:2]).read_bytes()
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
            mine = upload(other, photo_bytes(seed, (96, 64)))
            wait_for(lambda mine=mine: other.get(mine).json()["state"] not in ("queued", "running"))
            assert other.get(mine).json()["state"] == "done"
            after = sender.get(heavy).json()
            assert after["state"] == "running", "the photo waited for the end of the bomb"
            assert after["progress"]["done"] - before <= 30, "a slice of the bomb is longer than a moment"
        sender.delete(heavy)
        wait_for(lambda: not app.state.jobs._turns.open)

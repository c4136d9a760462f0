"""Stand-ins for models and networks in tests of the server: real decoding, invented classes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from streetlab.app.jobs.job import Job
from streetlab.app.jobs.queue import Jobs
from streetlab.app.models.catalog import UnknownModel
from streetlab.app.server import create_app
from streetlab.app.settings import Settings
from streetlab.datasets.decode import read_photo
from streetlab.datasets.labels import LabelSpace
from streetlab.inference.video.reader import VideoReader
from streetlab.io import files

CLASSES = ("road", "sky", "car")
MODEL = "street"
HOST = "127.0.0.1:8000"


class StandInCatalog:
    """One model with three classes."""

    def models(self) -> list[dict[str, Any]]:
        return [self.entry(MODEL)]

    def entry(self, model_id: str) -> dict[str, Any]:
        if model_id != MODEL:
            raise UnknownModel("model: no such model here")
        classes = [{"name": name, "color": "#102030", "category": None} for name in CLASSES]
        return {
            "id": MODEL, "name": "run", "title": "Street", "task": "segmentation", "variant": None,
            "data_set": "streets", "image_size": [64, 128], "classes": classes, "ordinal": False, "objective": "miou",
            "score": 0.5, "metrics": {"miou": 0.5}, "split": "test", "parameters": 10, "gmacs": 0.1,
            "checkpoint_bytes": 100, "images_per_second": 9.0, "ended": None, "calibrated": False,
            "activations": False,
        }  # fmt: skip

    def label_space(self, model_id: str) -> LabelSpace:
        return LabelSpace(model_id, "segmentation", CLASSES, ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


class StandInWork:
    """Decodes uploads as the real work does, and answers with their hash; can be held up with `gate`.

    A photo's mask is its brightness in three steps. `begun` is set when a job is taken up.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.before: Callable[[Job], None] = lambda job: None

    def __call__(
        self, job: Job, catalog: Any, jobs: Jobs, report: Callable[..., None], cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        (job.folder / "half").write_bytes(b"written before the end")
        self.begun.set()
        while not self.gate.wait(0.01):
            if cancelled():
                raise RuntimeError("cancelled")
        self.before(job)
        result = {"photo": self._photo, "video": self._video, "render": self._render}[job.kind](job, jobs, report)
        (job.folder / "half").unlink()
        return result

    def _photo(self, job: Job, jobs: Jobs, report: Callable[..., None]) -> dict[str, Any]:
        assert job.upload is not None
        photo = read_photo(job.upload)
        report(1, 1)
        ids = (np.asarray(photo.convert("L")) // 86).astype(np.uint8)
        confidence = Image.fromarray(np.full_like(ids, 200))
        for name, image in (("photo.jpg", photo), ("ids.png", Image.fromarray(ids)), ("confidence.png", confidence)):
            files.write_bytes(job.folder / name, encoded(image, Path(name).suffix))
        return {
            "task": "segmentation", "width": photo.width, "height": photo.height, "sha256": _sha256(job.upload),
            "files": {"photo": _url(job, "photo.jpg"), "ids": _url(job, "ids.png")},
            "shares": [1.0, 0.0, 0.0], "milliseconds": {"decode": 1.0},
        }  # fmt: skip

    def _video(self, job: Job, jobs: Jobs, report: Callable[..., None]) -> dict[str, Any]:
        assert job.upload is not None
        times = []
        with VideoReader(job.upload, most_frames=200) as reader:
            for frame in reader:
                times.append(frame.time)
                report(len(times), reader.info.frames)
        files.write_text(job.folder / "shares.csv", "time\n" + "\n".join(map(str, times)))
        return {
            "task": "segmentation", "width": reader.info.width, "height": reader.info.height,
            "fps": str(reader.info.fps), "frames": len(times), "times": times, "sha256": _sha256(job.upload),
            "files": {"csv": _url(job, "shares.csv")}, "layout": {}, "shares": [1.0, 0.0, 0.0], "flicker": None,
            "flicker_raw": None, "audio": False, "broken": reader.broken,
        }  # fmt: skip

    def _render(self, job: Job, jobs: Jobs, report: Callable[..., None]) -> dict[str, Any]:
        source = jobs.get(job.source or "")
        files.write_bytes(job.folder / "overlay.png", (source.folder / "ids.png").read_bytes())
        return {"files": {"overlay": _url(job, "overlay.png")}, "look": job.options}


class Served:
    """The application with stand-ins, and a client whose requests come from the page itself."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.work = StandInWork()
        self.settings = replace(Settings(storage=folder), **settings)
        self.app = create_app(self.settings, StandInCatalog(), self.work)  # type: ignore[arg-type]
        self.jobs: Jobs = self.app.state.jobs
        self.client = TestClient(self.app, base_url=f"http://{HOST}", raise_server_exceptions=False)
        self.client.__enter__()  # one event loop for all requests

    def close(self) -> None:
        self.work.gate.set()
        self.client.__exit__()

    def upload(self, content: bytes, name: str = "photo.png", **parameters: Any) -> Any:
        """The answer to an upload."""
        asked = {"model": MODEL, "name": name, **parameters}
        return self.client.post("/api/predict", params=asked, content=content)

    def ended(self, id_: str, seconds: float = 120) -> dict[str, Any]:
        """The job once it has ended."""
        wait_for(lambda: self.job(id_)["state"] not in ("queued", "running"), seconds)
        return self.job(id_)

    def job(self, id_: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/jobs/{id_}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def done(self, content: bytes, **parameters: Any) -> dict[str, Any]:
        """The finished job of an upload that is taken."""
        answer = self.upload(content, **parameters)
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["id"])


def wait_for(condition: Callable[[], bool], seconds: float = 120, every: float = 0.01) -> None:
    """Return when the condition holds, asking every so many seconds; fail if it does not in time."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        pause.wait(every)


def encoded(image: Image.Image, suffix: str = ".png", **options: Any) -> bytes:
    """The image as a file's bytes."""
    buffer = BytesIO()
    image.save(buffer, {".png": "PNG", ".jpg": "JPEG"}.get(suffix, suffix.strip(".").upper()), **options)
    return buffer.getvalue()


def photo_bytes(seed: int = 0, size: tuple[int, int] = (24, 16), suffix: str = ".png") -> bytes:
    """A noisy photo of (width, height); every seed's is another."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), suffix)


def tree(folder: Path) -> set[str]:
    """Every file and folder below, as paths."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _url(job: Job, name: str) -> str:
    return f"/api/jobs/{job.id}/files/{name}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

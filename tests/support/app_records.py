"""Run records without a training, and a network that needs none: for tests of what the app does with them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streetlab.app.jobs.job import Job
from streetlab.app.jobs.work import work
from streetlab.app.settings import Settings
from streetlab.datasets.labels import CAMVID, CLEANLINESS, LabelSpace
from streetlab.inference.predictions import Classified, Segmented
from streetlab.records.record import RunRecord


def write_record(
    folder: Path,
    label_space: LabelSpace = CAMVID,
    score: float = 0.5,
    experiment: str | None = None,
    seed: int = 0,
    state: str = "completed",
    network: dict[str, Any] | None = None,
    **test: Any,
) -> RunRecord:
    """Write the part of a run that the catalog reads; its checkpoint is no checkpoint."""
    record = RunRecord(folder)
    objective = "miou" if label_space.task == "segmentation" else "macro_f1"
    numbers = {objective: score, "n": 5, "confusion": [[1]], "per_class": {"sky": {"iou": 1}}, "boundary_f": None}
    network = network or {"_target_": "streetlab.networks.hrnetv2.hrnetv2", "width": 18, "small": True}
    record.write_config(
        {"dataset": {"name": "camvid"}, "model": network, "image_size": [64, 96], "seed": seed}, ["seed=0"]
    )
    record.write_metrics(
        {
            "task": label_space.task, "objective": {"metric": objective, "mode": "max", "best": 0.9},
            "eval_split": "test", "label_space": label_space.to_dict(), "test": numbers | test,
        }
    )  # fmt: skip
    record.write_model({"parameters": 7, "gmacs": 0.5, "checkpoint_bytes": 9, "images_per_second": 3.0})
    record.checkpoints.mkdir()
    (record.checkpoints / "best.ckpt").write_bytes(b"weights")
    choices = {"model": "hrnetv2_w18"} | ({"experiment": experiment} if experiment else {})
    record.write_status(state=state, ended="2026-01-01T00:00:00+00:00", choices=choices)
    return record


class StandIns:
    """A catalog of the two networks below."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.networks: dict[str, Any] = {"columns": Columns(), "brightness": Brightness()}

    def predictor(self, model_id: str, views: Any = None) -> Any:
        return self.networks[model_id]

    def label_space(self, model_id: str) -> LabelSpace:
        return self.networks[model_id].label_space

    def entry(self, model_id: str) -> dict[str, Any]:
        return {"title": f"the {model_id}", "classes": [{"name": n} for n in self.label_space(model_id).names]}


class Visits:
    """Jobs done one after the other in this thread, through a catalog."""

    def __init__(self, catalog: Any, storage: Path) -> None:
        self.catalog, self.storage = catalog, storage
        self.jobs: dict[str, Job] = {}
        self.reported: list[tuple[int, int | None]] = []

    def get(self, id_: str) -> Job:
        return self.jobs[id_]

    def do(self, kind: Any, model: str, upload: Path | None = None, name: str = "", source: str | None = None,
           cancelled: Callable[[], bool] = lambda: False, **options: Any) -> Job:  # fmt: skip
        """The job, done, or the error that it ends with."""
        id_ = secrets.token_urlsafe(18)
        folder = self.storage / "jobs" / id_
        folder.mkdir(parents=True)
        job = Job(id_, kind, name or (upload.name if upload else "x"), model, options, folder, upload, source)
        self.jobs[id_] = job
        self.reported.clear()
        job.result = work(job, self.catalog, self, lambda *far: self.reported.append(far), cancelled)  # type: ignore[arg-type]
        job.state = "partial" if job.result.get("broken") else "done"
        return job

    def file(self, job: Job, what: str) -> Path:
        """The file that the result has an address for."""
        start, _, name = job.result["files"][what].rpartition("/")
        assert start == f"/api/jobs/{job.id}/files"
        return job.folder / name


def settings(folder: Path, **changed: Any) -> Settings:
    """Settings over `folder`/runs and a storage beside it."""
    for name in ("runs", "storage"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Settings(**({"runs": folder / "runs", "storage": folder / "storage", "device": "cpu"} | changed))


class Columns:
    """Stands in for a segmentation network: a pixel's class is its column, its confidence its row."""

    task = "segmentation"
    per_pixel = True
    data_set = None
    label_space = CAMVID
    temperature = None
    memory_bytes = 100
    domain = None
    image_size = (48, 64)
    name = "columns"

    def predict(self, photos: list[Any], activations: bool = False, go_on: Any = None) -> list[Segmented]:
        assert not activations, "the engine refuses maps of a segmentation network"
        return [Segmented(*columns(photo.height, photo.width)) for photo in photos]

    def seen_through(self, views: Any) -> Columns:
        return self


def columns(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and confidence (H, W) uint8 that `Columns` sees in a photo of that size."""
    rows, across = np.indices((height, width))
    return (across % len(CAMVID)).astype(np.uint8), (rows * 5 % 256).astype(np.uint8)


class Brightness:
    """Stands in for a classifier: the more light, the cleaner; each class's map is a ramp of its own height."""

    task = "classification"
    per_pixel = False
    label_space = CLEANLINESS
    temperature = 2.0
    memory_bytes = 100
    domain = None
    image_size = (48, 64)

    def predict(self, photos: list[Any], activations: bool = False, go_on: Any = None) -> list[Classified]:
        answers = []
        for photo in photos:
            light = float(np.asarray(photo).mean()) / 255
            probabilities = np.array([light, 0.0, 1 - light], np.float32)
            maps = np.stack([np.linspace(0, height, photo.width) * np.ones((photo.height, 1)) for height in (1, 2, 4)])
            shown = (maps.astype(np.float32), (0, 1, 2)) if activations else (None, ())
            answers.append(Classified(probabilities, int(probabilities.argmax()), *shown))
        return answers

    def seen_through(self, views: Any) -> Brightness:
        return self

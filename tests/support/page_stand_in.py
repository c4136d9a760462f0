"""Models without a network, for tests of the page: what they see follows from a photo's pixels by a line of NumPy."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.app.settings import Settings
from streetlab.datasets.labels import CAMVID, CITYSCAPES, CLEANLINESS, LabelSpace
from streetlab.inference.predictions import Classified, Segmented
from streetlab.plots.figure import hex_color

# id, title, label space, score, how far its ids are from the first model's
MODELS = (
    ("first", "DeepLabV3 1 on Cityscapes", CITYSCAPES, 0.612, 0),
    ("second", "HRNet 2 on Cityscapes", CITYSCAPES, 0.587, 1),
    ("camvid", "DeepLabV3 on CamVid", CAMVID, 0.431, 0),
    ("clean", "ResNet-18 on street cleanliness", CLEANLINESS, 0.871, 0),
)


def ids_of(photo: Image.Image, space: LabelSpace, shift: int = 0) -> NDArray[np.uint8]:
    """A class for each step of red; a shifted model is of another opinion in the left half."""
    red = np.asarray(photo.convert("RGB"))[..., 0].astype(int)
    ids = red * len(space) // 256
    ids[:, : ids.shape[1] // 2] = (ids[:, : ids.shape[1] // 2] + shift) % len(space)
    return ids.astype(np.uint8)


def is_blue(photo: Image.Image) -> bool:
    """What makes a photo unlike the training photos here."""
    return bool(np.asarray(photo.convert("RGB"))[..., 2].mean() > 127)


def confidence_of(photo: Image.Image) -> NDArray[np.uint8]:
    """As sure as the photo is green."""
    return np.asarray(photo.convert("RGB"))[..., 1].copy()


@dataclass
class StandInPredictor:
    """Answers as `streetlab.inference.predictor.Predictor` does, once `gate` is open."""

    name: str
    label_space: LabelSpace
    shift: int
    gate: threading.Event
    temperature: float | None = None
    image_size: tuple[int, int] = (64, 128)
    domain: None = None

    @property
    def task(self) -> str:
        return self.label_space.task

    @property
    def per_pixel(self) -> bool:
        return self.label_space.spec.per_pixel

    def predict(self, photos: Sequence[Image.Image], activations: bool = False, go_on: Any = None) -> list[Any]:
        assert self.gate.wait(120), "the test never opened the gate"
        return [self._answer(photo, activations) for photo in photos]

    def _answer(self, photo: Image.Image, activations: bool) -> Any:
        if self.per_pixel:
            return Segmented(ids_of(photo, self.label_space, self.shift), confidence_of(photo), is_blue(photo))
        probabilities = np.array([0.1, 0.2, 0.7], dtype=np.float32)
        maps = np.stack([confidence_of(photo)] * 3).astype(np.float32) if activations else None
        return Classified(probabilities, 2, maps, tuple(range(3)) if activations else (), is_blue(photo))


@dataclass
class StandInCatalog:
    """Lists MODELS as `app.models.catalog.Catalog` does; `asked` are the models that were asked to predict."""

    settings: Settings
    offered: Sequence[tuple[str, str, LabelSpace, float, int]] = MODELS
    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def models(self) -> list[dict[str, Any]]:
        return [self.entry(each[0]) for each in self.offered]

    def entry(self, model_id: str) -> dict[str, Any]:
        id_, title, space, score, _ = self._found(model_id)
        categories = space.categories or (None,) * len(space)
        classes = [
            {"name": name, "color": hex_color(color), "category": category, "criterion": None}
            for name, color, category in zip(space.names, space.palette, categories, strict=True)
        ]
        objective = "miou" if space.task == "segmentation" else "macro_f1"
        return {
            "id": id_, "name": f"run-{id_}", "title": title, "task": space.task, "variant": None,
            "data_set": space.name, "trained_on": f"{space.name} photos", "image_size": [256, 512], "classes": classes,
            "label_space": space.name,
            "ordinal": space.ordinal, "objective": objective, "score": score, "metrics": {objective: score},
            "split": "test", "parameters": 39_600_000, "gmacs": 31.2, "checkpoint_bytes": 160_000_000,
            "images_per_second": 24.0, "ended": "2026-11-20T10:00:00+00:00", "calibrated": False,
            "activations": space.task == "classification",
        }  # fmt: skip

    def label_space(self, model_id: str) -> LabelSpace:
        return self._found(model_id)[2]

    def predictor(self, model_id: str, views: Any = None) -> StandInPredictor:
        self.asked.append(model_id)
        id_, _, space, _, shift = self._found(model_id)
        return StandInPredictor(id_, space, shift, self.gate)

    def _found(self, model_id: str) -> tuple[str, str, LabelSpace, float, int]:
        from streetlab.app.models.catalog import UnknownModel

        for each in self.offered:
            if each[0] == model_id:
                return each
        raise UnknownModel("model: no such model here")

"""Videos and networks for the tests of `inference/video`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.videos import make_video as write_video
from torch import nn

from streetlab.datasets.labels import LabelSpace
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views

MakeVideo = Callable[..., Path]
MakePredictor = Callable[..., Predictor]


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """`make_video("a.mp4", frames=…, size=…, fps=…, audio=…, rotation=…)` in the test's folder; see tests/videos.py."""

    def make(name: str | Path, **options: object) -> Path:
        return write_video(tmp_path / name, **options)

    return make


class _RedOrGreen(nn.Module):
    """Class 1 where an image is redder than green, else class 0; of photos the same, of their means."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = 4 * torch.stack([images[:, 1], images[:, 0], torch.full_like(images[:, 0], -9.0)], dim=1)
        return logits if self.task == "segmentation" else logits.mean(dim=(2, 3))


@pytest.fixture
def make_predictor() -> MakePredictor:
    """A predictor of the classes `green`, `red`, `none` for frames of `tests/videos.py`."""

    def make(
        task: str = "segmentation",
        image_size: tuple[int, int] = (48, 64),
        batch_size: int = 4,
        mode: str = "resized",
        network: nn.Module | None = None,
        temperature: float | None = None,
    ) -> Predictor:
        names = ("green", "red", "none")
        space = LabelSpace(name="test", names=names, task=task, palette=((0, 255, 0), (255, 0, 0), (0, 0, 255)))
        return Predictor(
            network=network or _RedOrGreen(task),
            name="test",
            task=task,
            label_space=space,
            image_size=image_size,
            checkpoint=Path("none.ckpt"),
            sha256="",
            epoch=1,
            fitted=temperature,
            device=torch.device("cpu"),
            precision="32-true",
            views=Views(mode=mode),
            batch_size=batch_size,
        )

    return make

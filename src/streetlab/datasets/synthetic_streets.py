"""Synthetic street scenes with one of Cityscapes' classes for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.source import Sample
from streetlab.datasets.synthetic_base import SyntheticBase, scene_size
from streetlab.synthetic import GENERATOR_VERSION, draw_scene


class SyntheticStreets(SyntheticBase):
    """Street scenes and their true classes; what belongs to none of the 19 is ignored.

    Args:
        train, val, test: scenes per split.
        size: height and width of the drawn scene, in pixels.
        first_seed: the first scene's seed.
    """

    label_space = CITYSCAPES
    drawn_when_read = True

    def __init__(self, size: Sequence[int] = (256, 512), **options: Any) -> None:
        super().__init__(**options)
        self.size = scene_size(size)

    def samples(self, split: str) -> list[Sample]:
        return [Sample(str(seed), None, str(seed)) for seed in self.seeds[split]]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        return self.read_pair(sample, min_side)[0]

    def read_pair(self, sample: Sample, min_side: int | None = None) -> tuple[Image.Image, np.ndarray]:
        scene = draw_scene(int(sample.id), *self.size)
        return Image.fromarray(scene.image), scene.mask

    def fingerprint(self, sample: Sample) -> str:
        return f"street:{GENERATOR_VERSION}:{self.size}:{sample.id}"

"""Synthetic street scenes with a cleanliness label, and close-ups of objects on the ground for pretraining."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.labels import CLEANLINESS, LabelSpace, categorical_palette
from streetlab.datasets.source import Sample, make_cache_folder
from streetlab.datasets.synthetic_base import MAX_SIDE, SyntheticBase, scene_size
from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.errors import UserError
from streetlab.io.files import write_json
from streetlab.io.parallel import WORTH_PROCESSES, in_order, process_pool
from streetlab.progress import track
from streetlab.synthetic import GENERATOR_VERSION, ITEM_KINDS, draw_item, draw_scene

_KEPT_BYTES = 1 << 29
"""Pictures drawn for their labels are kept up to this, until the cache asks for their pixels."""


class _Labelled(SyntheticBase):
    """Synthetic pictures whose label is known once they are drawn."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._drawn: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_drawn": {}}  # other processes draw, they need not be sent what is drawn

    @abstractmethod
    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        """The picture `(H, W, 3)` uint8 of a seed, and its label."""

    @cached_property
    def _labels(self) -> dict[str, list[int]]:
        """Labels are known once their pictures are drawn, so they are stored beside the cache."""
        seeds = [seed for split in self.seeds.values() for seed in split]
        keys = [self.fingerprint(Sample(str(seed), 0, "")) for seed in (seeds[0], seeds[-1])]
        digest = hashlib.sha256("\n".join([*keys, str(len(seeds))]).encode()).hexdigest()[:16]
        path = self.cache_dir / self.name / f"labels-{digest}.json"
        try:
            labels = json.loads(path.read_text())
        except (OSError, ValueError):
            labels = None
        if not isinstance(labels, list) or len(labels) != len(seeds):
            make_cache_folder(path.parent)  # before the minutes of drawing, not after
            labels = []
            pool = process_pool() if len(seeds) >= WORTH_PROCESSES else ThreadPoolExecutor(1)
            with pool:
                pictures = track(in_order(pool, self.draw, seeds), f"drawing {self.name}", len(seeds))
                for seed, (picture, label) in zip(seeds, pictures, strict=True):
                    labels.append(label)
                    if len(self._drawn) * picture.nbytes < _KEPT_BYTES:
                        self._drawn[seed] = picture
            write_json(path, labels)
        by_seed = dict(zip(seeds, labels, strict=True))
        return {split: [by_seed[seed] for seed in seeds] for split, seeds in self.seeds.items()}

    def samples(self, split: str) -> Sequence[Sample]:
        return [
            Sample(str(seed), label, str(seed))
            for seed, label in zip(self.seeds[split], self._labels[split], strict=True)
        ]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        seed = int(sample.id)
        pixels = self._drawn.pop(seed) if seed in self._drawn else self.draw(seed)[0]
        return Image.fromarray(pixels)


class SyntheticCleanliness(_Labelled):
    """Street scenes; Clean, Medium or Litter by the litter's share of the ground.

    Args:
        train, val, test: scenes per split.
        size: height and width of the drawn scene, in pixels.
        first_seed: the first scene's seed.
    """

    label_space = CLEANLINESS

    def __init__(self, size: Sequence[int] = (128, 256), **options: Any) -> None:
        super().__init__(**options)
        self.size = scene_size(size)

    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        scene = draw_scene(seed, *self.size)
        return scene.image, scene.label

    def evidence(self, sample: Sample) -> NDArray[np.bool_]:
        """The litter; a clean street may have none."""
        return draw_scene(int(sample.id), *self.size).litter

    def fingerprint(self, sample: Sample) -> str:
        return f"scene:{GENERATOR_VERSION}:{self.size}:{sample.id}"


class SyntheticItems(_Labelled):
    """Close-ups of the ground with one object on it as the label, for pretraining.

    Args:
        train, val, test: pictures per split.
        size: side of the square picture, in pixels.
        first_seed: the first picture's seed.
    """

    def __init__(self, size: int = 96, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(size, int) or not 16 <= size <= MAX_SIDE:
            raise UserError(f"dataset.size: {size} is not the side of a square in pixels, 16 to {MAX_SIDE}")
        self.size = size
        self.label_space = LabelSpace("items", CLASSIFICATION, tuple(ITEM_KINDS), categorical_palette(len(ITEM_KINDS)))

    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        return draw_item(seed, self.size)

    def fingerprint(self, sample: Sample) -> str:
        return f"item:{GENERATOR_VERSION}:{self.size}:{sample.id}"

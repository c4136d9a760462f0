"""Drawn street scenes with a cleanliness label, and close-ups of things on the ground to pretrain on."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from streetlab.data.index.labels import CLEANLINESS, LabelSpace, categorical_palette
from streetlab.data.source import DataSource, Sample, make_cache_folder
from streetlab.data.synthetic import GENERATOR_VERSION, ITEM_KINDS, draw_item, draw_scene
from streetlab.errors import UserError
from streetlab.progress import track
from streetlab.runs.files import write_json

_KEPT_BYTES = 1 << 29
"""Pictures drawn for their labels are kept up to this, until the cache asks for their pixels."""


class _Drawn(DataSource):
    """Pictures numbered from `first_seed`: train first, then val, then test; no two splits share a seed."""

    def __init__(
        self,
        name: str,
        train: int,
        val: int,
        test: int,
        cache_dir: str | Path,
        first_seed: int = 0,
        on_error: str = "fail",
    ) -> None:
        super().__init__(name, cache_dir, on_error)
        sizes = {"train": train, "val": val, "test": test}
        for split, size in sizes.items():
            if size < 1:
                raise UserError(f"dataset.{split}: {size} pictures; each split needs at least one")
        if first_seed < 0:
            raise UserError(f"dataset.first_seed: {first_seed} is below 0")
        starts = {"train": first_seed, "val": first_seed + train, "test": first_seed + train + val}
        self._seeds = {split: range(starts[split], starts[split] + sizes[split]) for split in starts}
        self._drawn: dict[int, np.ndarray] = {}

    @abstractmethod
    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        """The picture `(H, W, 3)` uint8 of a seed, and its label."""

    @cached_property
    def _labels(self) -> dict[str, list[int]]:
        """A label is known once its picture is drawn, so labels are kept beside the cache."""
        seeds = [seed for split in self._seeds.values() for seed in split]
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
            for seed in track(seeds, f"drawing {self.name}"):
                picture, label = self.draw(seed)
                labels.append(label)
                if len(self._drawn) * picture.nbytes < _KEPT_BYTES:
                    self._drawn[seed] = picture
            write_json(path, labels)
        by_seed = dict(zip(seeds, labels, strict=True))
        return {split: [by_seed[seed] for seed in seeds] for split, seeds in self._seeds.items()}

    def samples(self, split: str) -> Sequence[Sample]:
        return [
            Sample(str(seed), label, str(seed))
            for seed, label in zip(self._seeds[split], self._labels[split], strict=True)
        ]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        seed = int(sample.id)
        pixels = self._drawn.pop(seed) if seed in self._drawn else self.draw(seed)[0]
        return Image.fromarray(pixels)


class SyntheticCleanliness(_Drawn):
    """Street scenes; Clean, Medium or Litter by the litter's share of the ground.

    Args:
        train, val, test: scenes per split.
        size: height and width of the drawn scene, in pixels.
        first_seed: the first scene's seed.
    """

    label_space = CLEANLINESS

    def __init__(self, size: Sequence[int] = (128, 256), **options) -> None:
        super().__init__(**options)
        if len(size) != 2 or min(size) < 32:
            raise UserError(f"dataset.size: {list(size)} is not [height, width] of at least 32 each")
        self.size = (int(size[0]), int(size[1]))

    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        scene = draw_scene(seed, *self.size)
        return scene.image, scene.label

    def fingerprint(self, sample: Sample) -> str:
        return f"scene:{GENERATOR_VERSION}:{self.size}:{sample.id}"


class SyntheticItems(_Drawn):
    """Close-ups of the ground with one thing on it, labelled by what it is: a pretext to pretrain on.

    Args:
        train, val, test: pictures per split.
        size: side of the square picture, in pixels.
        first_seed: the first picture's seed.
    """

    def __init__(self, size: int = 96, **options) -> None:
        super().__init__(**options)
        self.size = size
        self.label_space = LabelSpace(
            "items", "classification", tuple(ITEM_KINDS), categorical_palette(len(ITEM_KINDS))
        )

    def draw(self, seed: int) -> tuple[np.ndarray, int]:
        return draw_item(seed, self.size)

    def fingerprint(self, sample: Sample) -> str:
        return f"item:{GENERATOR_VERSION}:{self.size}:{sample.id}"

"""A data set's images as one split, for a test on all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.scan import SPLITS
from streetlab.datasets.source import DataSource, Sample


class Everything(DataSource):
    """A data set whose `test` holds the samples of all its splits whose truth is known, and which has no others.

    Args:
        source: the data set.
    """

    def __init__(self, source: DataSource) -> None:
        super().__init__(source.name, source.cache_dir, source.on_error, source.on_device)
        self._source = source
        self.label_space, self.drawn_when_read = source.label_space, source.drawn_when_read
        self.split_file, self.passed = source.split_file, source.passed
        known = SPLITS if source.eval_split == "test" else SPLITS[:2]
        self._samples = [sample for split in known for sample in source.samples(split)]

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples if split == "test" else []

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        return self._source.read(sample, min_side)

    def read_pair(self, sample: Sample, min_side: int | None = None) -> tuple[Image.Image, np.ndarray]:
        return self._source.read_pair(sample, min_side)

    def recording(self, sample: Sample) -> str:
        return self._source.recording(sample)

    def evidence(self, sample: Sample) -> NDArray[np.bool_] | None:
        return self._source.evidence(sample)

    def fingerprint(self, sample: Sample) -> str:
        return self._source.fingerprint(sample)

    def content_hashes(self, samples: Sequence[Sample]) -> list[str | None]:
        return self._source.content_hashes(samples)

    def ignored_values(self, samples: Sequence[Sample]) -> dict[int, int]:
        return self._source.ignored_values(samples)

    def truth_name(self, sample: Sample) -> str:
        return self._source.truth_name(sample)

"""Several data sets of one label space as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.files import refuse_cache_below
from streetlab.datasets.labels import same_names
from streetlab.datasets.scan import SPLITS, Photo
from streetlab.datasets.source import DataSource, Sample
from streetlab.datasets.split_assignment import SplitAssignment
from streetlab.errors import UserError


class Concat(DataSource):
    """Data sets joined split by split, one after the other; ids and groups are `<source>/<id>`.

    Where one data set withholds the truth of its test split, numbers are reported on `val` of all of them and
    `test` is empty: a test of the others alone would be taken for one of the whole.

    Args:
        sources: name → data set. All have the same classes in the same order.
        split_file, folds, fold: in place of the sources' own splits, see `SplitAssignment`; images of all sources are
            dealt together, those of which the truth is withheld are left out.

    Raises:
        UserError: no sources, or two with different classes; a split of pictures that are drawn and have no file.
    """

    def __init__(
        self,
        name: str,
        sources: Mapping[str, DataSource],
        cache_dir: str | Path,
        on_error: str = "fail",
        on_device: bool = False,
        split_file: str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        super().__init__(name, cache_dir, on_error, on_device)
        assignment = SplitAssignment(split_file, folds=folds, fold=fold, on_error=on_error)
        if not sources:
            raise UserError("dataset.sources: none; name at least one data set")
        for key, source in sources.items():
            if "/" in key:
                raise UserError(f"dataset.sources: '{key}' cannot name a data set (no /)")
            root = getattr(source, "root", None)
            if root is not None:
                refuse_cache_below(root, self.cache_dir)
        self._sources = dict(sources)
        (first, one), *others = sources.items()
        for key, source in others:
            _check_equal(first, one, key, source)
        self.label_space = one.label_space
        self.required_classes = frozenset().union(*(source.required_classes for source in sources.values()))
        for source in sources.values():
            for reason, count in source.passed.counts.items():
                self.passed.counts[reason] = self.passed.counts.get(reason, 0) + count
                self.passed.first.setdefault(reason, source.passed.first[reason])
        self.eval_split = "val" if any(source.eval_split == "val" for source in sources.values()) else "test"
        self._placed: dict[str, list[Sample]] | None = None
        if not assignment.by_folders:
            self._placed = self._place(assignment)
            self.eval_split = "test" if self._placed["test"] else "val"

    def samples(self, split: str) -> list[Sample]:
        if self._placed is not None:
            return self._placed[split]
        if split == "test" and self.eval_split != "test":
            return []
        return self._joined(split)

    def _joined(self, split: str) -> list[Sample]:
        """The samples of the sources' own split under their joined names."""
        return [
            replace(sample, id=f"{key}/{sample.id}", group=f"{key}/{sample.group}")
            for key, source in self._sources.items()
            for sample in source.samples(split)
        ]

    def _place(self, assignment: SplitAssignment) -> dict[str, list[Sample]]:
        """The samples by split as the assignment has it."""
        photos, by_id = [], {}
        for split in SPLITS:
            for sample in self._joined(split):
                source, own = self._own(sample)
                if sample.path is None:
                    key = sample.id.partition("/")[0]
                    raise UserError(
                        f"dataset.sources.{key}: {source.name} draws its images; dataset.split_file and dataset.folds "
                        "are of image files"
                    )
                if source.has_masks and sample.mask_path is None:
                    continue
                group = None if own.group == own.id else sample.group
                photos.append(Photo(sample.id, sample.path, split, sample.label or 0, group))
                by_id[sample.id] = sample
        names = () if self.has_masks else self.label_space.names
        placed, self.split_file = assignment.place(photos, Path(self.name), self.cache_dir, names)
        found: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for photo in placed:
            if photo.split is not None:
                sample = by_id[photo.id]
                label = sample.label if self.has_masks else photo.label
                found[photo.split].append(replace(sample, label=label, group=photo.group or sample.group))
        return found

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        source, own = self._own(sample)
        return source.read(own, min_side)

    def read_pair(self, sample: Sample, min_side: int | None = None) -> tuple[Image.Image, np.ndarray]:
        source, own = self._own(sample)
        return source.read_pair(own, min_side)

    def recording(self, sample: Sample) -> str:
        source, own = self._own(sample)
        recording = source.recording(own)
        return recording and f"{sample.id.partition('/')[0]}/{recording}"

    def evidence(self, sample: Sample) -> NDArray[np.bool_] | None:
        source, own = self._own(sample)
        return source.evidence(own)

    def ignored_values(self, samples: Sequence[Sample]) -> dict[int, int]:
        counts: dict[int, int] = {}
        for sample in samples:
            source, own = self._own(sample)
            for value, pixels in source.ignored_values([own]).items():
                counts[value] = counts.get(value, 0) + pixels
        return counts

    def truth_name(self, sample: Sample) -> str:
        source, own = self._own(sample)
        return source.truth_name(own)

    def fingerprint(self, sample: Sample) -> str:
        source, own = self._own(sample)
        return source.fingerprint(own)

    def content_hashes(self, samples: Sequence[Sample]) -> list[str | None]:
        by_source: dict[str, list[int]] = {}
        for number, sample in enumerate(samples):
            by_source.setdefault(sample.id.partition("/")[0], []).append(number)
        hashes: list[str | None] = [None] * len(samples)
        for key, numbers in by_source.items():
            members = [self._own(samples[number])[1] for number in numbers]
            for number, digest in zip(numbers, self._sources[key].content_hashes(members), strict=True):
                hashes[number] = digest
        return hashes

    def _own(self, sample: Sample) -> tuple[DataSource, Sample]:
        """The data set that a sample came from, and the sample under its original id."""
        key, _, own_id = sample.id.partition("/")
        return self._sources[key], replace(sample, id=own_id, group=sample.group.removeprefix(f"{key}/"))


def _check_equal(first: str, one: DataSource, key: str, other: DataSource) -> None:
    a, b = one.label_space, other.label_space
    if a.task != b.task:
        raise UserError(f"dataset.sources: {first} is for {a.task} and {key} for {b.task}; they cannot be joined")
    if same_names(a.names, b.names):
        return
    way = f"; say dataset.sources.{key}.labels={a.name}" if a.name != b.name else ""
    if b.name == "cityscapes":  # the larger space takes the smaller one in
        way = f"; say dataset.sources.{first}.labels={b.name}"
    raise UserError(
        f"dataset.sources: {first} has {len(a)} classes ({a.name}) and {key} has {len(b)} ({b.name}); "
        f"only data sets of the same classes in the same order can be joined{way}"
    )

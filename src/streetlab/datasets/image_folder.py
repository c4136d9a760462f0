"""Data set of photos in one folder per class, with split folders as in the original study or without."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.decode import read_photo
from streetlab.datasets.files import fingerprint, refuse_cache_below
from streetlab.datasets.hashes import content_hashes
from streetlab.datasets.labels import LABEL_SPACES, LabelSpace
from streetlab.datasets.scan import SPLITS, report_passed, scan_class_folders
from streetlab.datasets.soft_labels import read_soft_labels
from streetlab.datasets.source import DataSource, Sample
from streetlab.datasets.split_assignment import SplitAssignment
from streetlab.errors import UserError, did_you_mean


class ImageFolder(DataSource):
    """`root/{train,val,test}/<class>/*` or `root/<class>/*`.

    Without split folders a stratified 70/15/15 split is drawn once and kept beside the cache as a file of
    content hashes, so that the same split returns wherever the photos lie and whatever they are called. Where there
    are train and val folders alone, numbers are reported on `val`; with train and test, val is drawn of train.

    Args:
        root: the tree.
        labels: name of a label space that the folders must match; null takes the folders' names.
        label_space: the classes themselves, where the data are for a network that has learned them; some may lack
            a folder.
        split_file, split_seed, folds, fold, test_from: which photo is in which split, where it is not the tree that
            says so; see `SplitAssignment`.
        soft_labels: a CSV file, see `read_soft_labels`; it is read when photos are trained on.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        cache_dir: str | Path,
        labels: str | None = None,
        split_file: str | Path | None = None,
        split_seed: int = 0,
        folds: int | None = None,
        fold: int | None = None,
        on_error: str = "fail",
        on_device: bool = False,
        test_from: str | None = None,
        label_space: LabelSpace | None = None,
        soft_labels: str | Path | None = None,
    ) -> None:
        super().__init__(name, cache_dir, on_error, on_device)
        assignment = SplitAssignment(split_file, split_seed, folds, fold, on_error, test_from)
        self.root = Path(root).expanduser()
        self._soft_labels = None if soft_labels is None else Path(soft_labels).expanduser()
        spaces = {key: space for key, space in LABEL_SPACES.items() if not space.spec.per_pixel}
        if labels is not None and labels not in spaces:
            near = did_you_mean(labels, spaces)
            raise UserError(f"dataset.labels: no label space '{labels}' for photos ({', '.join(spaces)}){near}")
        space = spaces[labels] if labels else label_space
        photos, self.label_space = scan_class_folders(self.root, "dataset.root", space, self.passed)
        report_passed(self.passed, "dataset.root", self.root)
        refuse_cache_below(self.root, self.cache_dir)
        self.tree_splits = frozenset(photo.split for photo in photos if photo.split)
        self._photos, self.split_file = assignment.place(photos, self.root, self.cache_dir, self.label_space.names)
        self.required_classes = frozenset(range(len(self.label_space)))
        if not self.samples("test") and self.samples("val"):
            self.eval_split = "val"

    @cached_property
    def _by_split(self) -> dict[str, list[Sample]]:
        by_split: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for photo in self._photos:
            if photo.split in by_split:
                by_split[photo.split].append(Sample(photo.id, photo.label, photo.group or photo.id, photo.path))
        return by_split

    def samples(self, split: str) -> list[Sample]:
        return self._by_split[split]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        assert sample.path is not None
        return read_photo(sample.path, min_side)

    def soft_labels(self, samples: Sequence[Sample]) -> NDArray[np.float32] | None:
        return None if self._soft_labels is None else read_soft_labels(self._soft_labels, samples, self.label_space)

    def fingerprint(self, sample: Sample) -> str:
        assert sample.path is not None
        return fingerprint(sample.path)

    def content_hashes(self, samples: Sequence[Sample]) -> list[str | None]:
        files = [sample.path for sample in samples if sample.path is not None]
        return content_hashes(files, self.cache_dir, f"hashing {self.name}")

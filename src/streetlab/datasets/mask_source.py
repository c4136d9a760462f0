"""Base of data sets with mask files: matched to a label space by class names, checked while they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo, read_photo_and_size
from streetlab.datasets.files import fingerprint, refuse_cache_below
from streetlab.datasets.hashes import content_hashes
from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.datasets.mapping import mask_table, number_ranges, target_space
from streetlab.datasets.pairs import Pair
from streetlab.datasets.scan import SPLITS, Photo
from streetlab.datasets.source import DataSource, Sample
from streetlab.datasets.split_assignment import SplitAssignment
from streetlab.datasets.splits import SplitFile
from streetlab.io.archive import File


class MaskSource(DataSource):
    """Images with one class per pixel, from files; subclasses find the files.

    Args:
        root: the tree that the pairs were found in.
        pairs: of all splits; those without a mask are of splits whose truth is withheld.
        file_space: the classes of the mask files, with the values that stand for them.
        labels: name of the label space to learn; null: the files' own.
        map: own class → class of `labels`, or null to ignore it. A class that is not named here becomes the one
            of its own name.
        values: further values of the mask files, and the own class that each stands for.

    Raises:
        UserError: a class without a counterpart, a name that does not exist, a cache under the data.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        cache_dir: str | Path,
        pairs: Sequence[Pair],
        file_space: LabelSpace,
        labels: str | None = None,
        map: Mapping[str, str | None] | None = None,
        on_error: str = "fail",
        on_device: bool = False,
        values: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(name, cache_dir, on_error, on_device)
        self.root = root
        refuse_cache_below(root, self.cache_dir)
        self.label_space = target_space(file_space, labels)
        self._file_space = file_space
        self._map = dict(map or {})
        self._values = dict(values or {})
        self._table = mask_table(file_space, self.label_space, map or {}, self._values)
        table = self._table.ids.tobytes() + self._table.known.tobytes()
        self._table_hash = hashlib.sha256(table).hexdigest()[:16]
        self._samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for pair in pairs:
            if pair.split in self._samples:
                self._samples[pair.split].append(Sample(pair.id, None, pair.group, pair.image, pair.mask))

    @property
    def occurring_classes(self) -> frozenset[int]:
        """The ids that some value of the mask files maps to."""
        return frozenset(self._table.ids[self._table.known].tolist()) - {IGNORE_INDEX}

    def ignored_values(self, samples: Sequence[Sample]) -> dict[int, int]:
        counts = np.zeros(256, np.int64)
        for sample in samples:
            assert sample.mask_path is not None
            counts += np.bincount(read_mask(sample.mask_path).ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts * (self._table.ids == IGNORE_INDEX))}

    def samples(self, split: str) -> list[Sample]:
        return self._samples[split]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        assert sample.path is not None
        return read_photo(sample.path, min_side)

    def read_pair(self, sample: Sample, min_side: int | None = None) -> tuple[Image.Image, np.ndarray]:
        assert sample.path is not None, sample.id
        assert sample.mask_path is not None, f"the mask of {sample.id} is withheld"
        photo, (width, height) = read_photo_and_size(sample.path, min_side)
        values = read_mask(sample.mask_path)
        if values.shape != (height, width):
            found = f"{values.shape[1]}x{values.shape[0]}"
            raise UnreadablePhoto(f"{sample.mask_path}: {found}, but its image {sample.path} is {width}x{height}")
        known = self._table.known[values]
        if not known.all():
            strange = values[~known]
            distinct = np.unique(strange).tolist()
            values_stand = "value {} stands" if len(distinct) == 1 else "values {} stand"
            raise UnreadablePhoto(
                f"{sample.mask_path}: {values_stand.format(number_ranges(distinct))} for no class of "
                f"{self._file_space.name} ({strange.size} of {values.size} pixels; allowed: {self._table.values})"
            )
        return photo, self._table.ids[values]

    def truth_name(self, sample: Sample) -> str:
        merged = [f"{name}={target}" for name, target in sorted(self._map.items())]
        further = [f"{value}={name}" for value, name in sorted(self._values.items())]
        return " ".join([self.label_space.name, *merged, *further])

    def fingerprint(self, sample: Sample) -> str:
        return "|".join([*(fingerprint(file) for file in _files(sample)), self._table_hash])

    def content_hashes(self, samples: Sequence[Sample]) -> list[str | None]:
        files = [_files(sample) for sample in samples]
        hashes = iter(content_hashes([file for pair in files for file in pair], self.cache_dir, f"hashing {self.name}"))
        return [self._joined([next(hashes) for _ in pair]) for pair in files]

    def _joined(self, hashes: Sequence[str | None]) -> str | None:
        """Hash a sample's files together with the way its mask is read."""
        known = [digest for digest in hashes if digest is not None]
        if len(known) < len(hashes):
            return None
        return hashlib.sha256("\n".join([*known, self._table_hash]).encode()).hexdigest()


def _files(sample: Sample) -> list[File]:
    return [file for file in (sample.path, sample.mask_path) if file is not None]


def place_pairs(
    pairs: Sequence[Pair], root: Path, cache_dir: Path, assignment: SplitAssignment
) -> tuple[list[Pair], SplitFile | None]:
    """The pairs with their splits and groups, by the contents of their images, and the split file if one was read.

    Frames that the tree keeps together are dealt to folds together. Images whose truth is withheld are in no split file
    and no fold, and are left out where there is one.
    """
    known = list(pairs) if assignment.by_folders else [pair for pair in pairs if pair.mask is not None]
    photos = [
        Photo(pair.id, pair.image, pair.split, 0, None if pair.group == pair.id else pair.group) for pair in known
    ]
    placed, read = assignment.place(photos, root, cache_dir, ())
    by_id = {photo.id: photo for photo in placed}
    kept = [(pair, by_id[pair.id]) for pair in known if pair.id in by_id]
    return [replace(pair, split=photo.split, group=photo.group or pair.group) for pair, photo in kept], read

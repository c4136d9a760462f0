"""Photos in one folder per class, with split folders as in the original study or without."""

from __future__ import annotations

import hashlib
import logging
import os
from functools import cached_property
from pathlib import Path

from PIL import Image

from streetlab.data.decode import UnreadablePhoto, read_photo
from streetlab.data.index.labels import LABEL_SPACES
from streetlab.data.index.scan import SPLITS, Photo, scan_class_folders
from streetlab.data.index.split import (
    apply_split,
    content_hash,
    photo_hash,
    read_split,
    stratified_split,
    write_split,
)
from streetlab.data.source import DataSource, Sample, make_cache_folder
from streetlab.errors import UserError, did_you_mean

log = logging.getLogger(__name__)


class ImageFolder(DataSource):
    """`root/{train,val,test}/<class>/*` or `root/<class>/*`.

    Without split folders a stratified 70/15/15 split is drawn once and kept beside the cache as a file of
    content hashes, so that the same split returns wherever the photos lie and whatever they are called.

    Args:
        root: the tree.
        labels: name of a label space that the folders must match; null takes the folders' names.
        split_file: a split to use instead of the tree's own (see `streetlab.data.index.split`).
        split_seed: of the split that is drawn where the tree has none; not the run's seed, so that runs with
            other seeds share the split.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        cache_dir: str | Path,
        labels: str | None = None,
        split_file: str | Path | None = None,
        split_seed: int = 0,
        on_error: str = "fail",
    ) -> None:
        super().__init__(name, cache_dir, on_error)
        self.root = Path(root).expanduser()
        spaces = {key: space for key, space in LABEL_SPACES.items() if space.task == "classification"}
        if labels is not None and labels not in spaces:
            near = did_you_mean(labels, spaces)
            raise UserError(f"dataset.labels: no label space '{labels}' for photos ({', '.join(spaces)}){near}")
        photos, self.label_space = scan_class_folders(self.root, "dataset.root", spaces[labels] if labels else None)
        if self.cache_dir.resolve().is_relative_to(self.root.resolve()):
            raise UserError(
                f"dataset.cache_dir: {self.cache_dir} lies under the photos in {self.root}, which are never "
                "written to; give another with dataset.cache_dir=DIR"
            )
        if split_file is not None:
            path = Path(split_file).expanduser()
            photos = apply_split(photos, read_split(path), path)
        elif photos[0].split is None:
            photos = self._drawn_split(photos, split_seed)
        self._photos = photos

    @cached_property
    def _by_split(self) -> dict[str, list[Sample]]:
        by_split: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for photo in self._photos:
            if photo.split in by_split:
                by_split[photo.split].append(Sample(photo.id, photo.label, photo.id, photo.path))
        return by_split

    def samples(self, split: str) -> list[Sample]:
        return self._by_split[split]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        assert sample.path is not None
        return read_photo(sample.path, min_side)

    def fingerprint(self, sample: Sample) -> str:
        assert sample.path is not None
        try:
            status = sample.path.stat()
        except OSError:  # a link to nothing: `read` will say so
            return f"{sample.path}:missing"
        if not os.access(sample.path, os.R_OK):  # neither size nor time changes once it may be read
            return f"{sample.path}:closed"
        return f"{sample.path.resolve()}:{status.st_size}:{status.st_mtime_ns}"

    def content_hash(self, sample: Sample) -> str:
        assert sample.path is not None
        try:
            return content_hash(sample.path)
        except OSError as error:
            raise UnreadablePhoto(f"{sample.path}: cannot be read ({error.strerror or error})") from None

    def _drawn_split(self, photos: list[Photo], seed: int) -> list[Photo]:
        where = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]
        path = self.cache_dir / "splits" / f"{self.root.resolve().name}-{where}-seed{seed}.json"
        if not path.exists():
            hashes, labels = [photo_hash(photo) for photo in photos], [photo.label for photo in photos]
            try:
                split = stratified_split(hashes, labels, seed, self.label_space.names)
            except UserError as error:
                raise UserError(f"dataset.root: {self.root}: {error}") from None
            make_cache_folder(path.parent)
            write_split(path, split, seed)
            log.info("drew a stratified 70/15/15 split of %d photos: %s", len(photos), path)
        return apply_split(photos, read_split(path), path)

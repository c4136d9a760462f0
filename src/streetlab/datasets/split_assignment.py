"""Assign the photos of a tree to splits: by the tree's own folders, a split file, folds, or a random split."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streetlab.datasets import splits
from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.files import content_hash
from streetlab.datasets.scan import Photo
from streetlab.datasets.source import make_cache_folder
from streetlab.datasets.splits import SplitFile, group_of
from streetlab.errors import UserError, did_you_mean

log = logging.getLogger(__name__)

TEST_FROM = ("train", "val", "all")


@dataclass(frozen=True)
class SplitAssignment:
    """Rules that assign the photos of a tree to splits.

    Args:
        split_file: a split to use instead of the tree's own (see `streetlab.datasets.splits`).
        split_seed: of a split or folds that are drawn; not the run's seed, so that runs of other seeds share them.
        folds: deal all photos to so many folds, at least 3, whatever splits there are.
        fold: the one that tests, from 0; the next one (after the last the first) validates, the others train.
        on_error: `fail` stops at a photo whose bytes cannot be read, `skip` leaves it out.
        test_from: of a tree with train and val folders alone, the one that test is drawn from, a share as in a drawn
            split, or half of val; None: there is no test, and val is reported. `all`: test holds every photo.

    Raises:
        UserError: folds without a fold or the reverse, or numbers that cannot be.
    """

    split_file: str | Path | None = None
    split_seed: int = 0
    folds: int | None = None
    fold: int | None = None
    on_error: str = "fail"
    test_from: str | None = None

    def __post_init__(self) -> None:
        if self.test_from not in (None, *TEST_FROM):
            near = did_you_mean(str(self.test_from), TEST_FROM)
            raise UserError(f"dataset.test_from: '{self.test_from}' is not null or one of {', '.join(TEST_FROM)}{near}")
        folds, fold = self.folds, self.fold
        if folds is None:
            if fold is not None:
                raise UserError(f"dataset.fold: {fold} of how many? Say dataset.folds=5 too")
            return
        if not isinstance(folds, int) or isinstance(folds, bool) or folds < 3:
            raise UserError(
                f"dataset.folds: {folds!r} is not null or a number of at least 3 (one tests, one validates, the "
                "others train)"
            )
        if fold is None:
            raise UserError(
                f"dataset.folds: {folds} folds, but which one tests? Say dataset.fold=0 (to {folds - 1}), or for all "
                f"of them -m 'dataset.fold=range({folds})'"
            )
        if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < folds:
            raise UserError(f"dataset.fold: {fold!r} is not one of 0 to {folds - 1} (dataset.folds={folds})")

    @property
    def by_folders(self) -> bool:
        """Tell whether the tree's own folders say which photo is in which split."""
        return self.split_file is None and self.folds is None and self.test_from is None

    def place(
        self, photos: Sequence[Photo], root: Path, cache_dir: Path, names: Sequence[str]
    ) -> tuple[list[Photo], SplitFile | None]:
        """The photos with split, group and label, and the split file where one was asked for.

        Without a split file, splits that the tree has no folders for are drawn, stratified, and kept beside the cache
        as a file of content hashes, so that they return wherever the photos lie and whatever they are called: all
        three where there are no split folders or train alone, val out of train where there are train and test.
        A photo that a split file leaves out (`null`) has no split, in folds neither.

        Args:
            photos: of one tree, at least one; `split` is None in all of them where the tree has no split folders.
            names: the classes' names; empty where photos have masks, and `label` is 0 for all.

        Raises:
            UserError: the split file does not fit, there are too few photos to split, or one cannot be read and
                `on_error` is `fail`; there is nothing to draw test from.
        """
        if self.test_from == "all":
            return [replace(photo, split="test") for photo in photos], None
        asked = None if self.split_file is None else splits.read_split(Path(self.split_file).expanduser())
        if asked is None and self.folds is None:
            return self._with_drawn(photos, root, cache_dir, names), None
        if self.test_from is not None:
            other = "split_file" if asked is not None else "folds"
            raise UserError(f"dataset.test_from: {self.test_from}, but dataset.{other} says which photos test")
        photos, hashes = self._hashed(photos, root)
        if asked is not None:
            photos = splits.apply_split(photos, hashes, asked, names)
            if strange := len(asked.photos.keys() - set(hashes)):
                log.info("%s: %d of its %d photos are not in %s", asked.path, strange, len(asked.photos), root)
        if self.folds is not None:
            photos = self._in_folds(photos, hashes, asked, root, names)
        return photos, asked

    def _with_drawn(self, photos: Sequence[Photo], root: Path, cache_dir: Path, names: Sequence[str]) -> list[Photo]:
        """The photos in the splits that their folders name, and in those that are drawn of one folder's photos."""
        there = {photo.split for photo in photos}
        parts = self._parts(there, root)
        if parts is None:
            if there == {"train", "val"}:
                log.info("%s has no test folder: val is reported; dataset.test_from=train or val draws a test", root)
            return list(photos)
        of, shares = parts
        pool, hashes = self._hashed([photo for photo in photos if photo.split == of], root)
        drawn = splits.read_split(self._drawn(pool, hashes, root, cache_dir, names, of, shares))
        placed = splits.apply_split(
            pool, hashes, drawn, names, "delete the file for a new split, or take these photos out"
        )
        by_id = {photo.id: photo for photo in placed}
        return [by_id.get(photo.id, photo) for photo in photos if photo.split != of or photo.id in by_id]

    def _parts(self, there: set[str | None], root: Path) -> tuple[str | None, dict[str, float]] | None:
        """The split whose photos are dealt anew (None: of a tree without split folders), and the shares."""
        if self.test_from is not None and there != {"train", "val"}:
            names = " and ".join(sorted(str(split) for split in there if split)) or "no split folders"
            raise UserError(
                f"dataset.test_from: {self.test_from} is for a tree of train and val folders alone; {root} has {names}"
            )
        if there in ({None}, {"train"}):
            return next(iter(there)), dict(splits.SHARES)
        if there == {"train", "test"}:
            return "train", {split: splits.SHARES[split] for split in ("train", "val")}
        if there == {"train", "val"} and self.test_from == "train":
            return "train", {split: splits.SHARES[split] for split in ("train", "test")}
        if there == {"train", "val"} and self.test_from == "val":
            return "val", {"val": 0.5, "test": 0.5}
        return None

    def _hashed(self, photos: Sequence[Photo], root: Path) -> tuple[list[Photo], list[str]]:
        """The photos that can be read, and the content hash of each."""
        kept, hashes, unreadable = [], [], []
        for photo in photos:
            try:
                hashes.append(content_hash(photo.path))
                kept.append(photo)
            except UnreadablePhoto as error:
                unreadable.append(str(error))
        if unreadable and self.on_error == "fail":
            raise UserError(f"{unreadable[0]} (dataset.on_error=skip leaves such photos out)")
        if not kept:
            raise UserError(f"dataset.root: {root}: no photo can be read: {unreadable[0]}")
        if unreadable:
            log.warning("left out %d of %d photos: %s", len(unreadable), len(photos), "; ".join(unreadable[:3]))
        return kept, hashes

    def _drawn(
        self,
        photos: Sequence[Photo],
        hashes: Sequence[str],
        root: Path,
        cache_dir: Path,
        names: Sequence[str],
        of: str | None,
        shares: dict[str, float],
    ) -> Path:
        """The file of a split that is drawn by contents, now or earlier; `of` and `shares` as of `_parts`."""
        where = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:8]
        which = "" if of is None else f"-{'-'.join(shares)}-of-{of}"
        path = cache_dir / "splits" / f"{root.resolve().name}-{where}-seed{self.split_seed}{which}.json"
        if not path.exists():
            labels = [photo.label for photo in photos]
            try:
                drawn = splits.grouped_split(hashes, labels, self.split_seed, shares, names)
            except UserError as error:
                raise UserError(f"dataset.root: {root}: {error}") from None
            make_cache_folder(path.parent)
            entries = {digest: {"split": split} for digest, split in zip(hashes, drawn, strict=True)}
            splits.write_split(path, entries, self.split_seed)
            if of is None:
                log.info("drew a stratified 70/15/15 split of %d photos: %s", len(photos), path)
        if of is not None:
            anew = " and ".join(split for split in shares if split != of)
            log.info("%s has no %s folder: drawn of the %d photos of %s, kept in %s", root, anew, len(photos), of, path)
        return path

    def _in_folds(
        self,
        photos: Sequence[Photo],
        hashes: Sequence[str],
        asked: SplitFile | None,
        root: Path,
        names: Sequence[str],
    ) -> list[Photo]:
        """The photos by the file's folds, or by folds drawn of its groups or, without a file, of equal contents."""
        assert self.folds is not None
        dealt = [number for number, photo in enumerate(photos) if asked is None or photo.split is not None]
        groups = [photos[number].group or group_of(hashes[number]) for number in dealt]
        if asked is not None and asked.folds == self.folds:
            folds = [asked.photos[hashes[number]]["fold"] for number in dealt]
        else:
            labels = [photos[number].label for number in dealt]
            seed = self.split_seed if asked is None else asked.seed
            try:
                folds = splits.grouped_folds(groups, labels, self.folds, seed, names)
            except UserError as error:
                raise UserError(f"dataset.folds: {root}: {error}") from None
        if asked is None:
            log.info(
                "drew %d folds of %d photos, files of equal contents together; near copies may lie in several folds: "
                "`streetlab audit` finds them and writes a dataset.split_file that keeps them together",
                self.folds, len(dealt),
            )  # fmt: skip
        placed = [replace(photo, split=None) for photo in photos]
        for number, group, fold in zip(dealt, groups, folds, strict=True):
            placed[number] = replace(photos[number], split=self._split_of(fold), group=group)
        return placed

    def _split_of(self, fold: int) -> str:
        assert self.folds is not None
        assert self.fold is not None
        return {self.fold: "test", (self.fold + 1) % self.folds: "val"}.get(fold, "train")

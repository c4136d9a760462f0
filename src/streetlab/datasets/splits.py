"""Split photos into train, val and test or into folds; split files keep content hashes, so that they are reusable."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streetlab.datasets.scan import SPLITS, Photo
from streetlab.datasets.stratified_groups import stratify_groups
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import fold
from streetlab.io.files import write_json

FORMAT = "streetlab split 1"
SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
_GROUP_DIGITS = 12


@dataclass(frozen=True)
class SplitFile:
    """A split file that was read.

    Attributes:
        path: the file.
        sha256: of its bytes, hex.
        seed: that the split was drawn with.
        folds: how many folds the photos are dealt to in it; None: it holds none.
        photos: content hash → entry: `split` (train, val, test, or null: left out) and where known `group`,
            `fold` and `label` (the class's name, where it is not that of the photo's folder).
    """

    path: Path
    sha256: str
    seed: int
    folds: int | None
    photos: Mapping[str, Mapping[str, Any]]


def group_of(digest: str) -> str:
    """The group of a photo by its contents alone: files with the same bytes share it."""
    return digest[:_GROUP_DIGITS]


def grouped_split(
    groups: Sequence[str],
    labels: Sequence[int],
    seed: int,
    shares: Mapping[str, float] = SHARES,
    names: Sequence[str] | None = None,
) -> list[str]:
    """A split for each image: every class as near to the shares as whole groups allow, no group in two splits.

    The same for the same groups, labels and seed, whatever the order of the images; see `stratified_groups`.

    Args:
        groups: the group of each of N images; images without relatives are groups of their own.
        labels: their classes.
        seed: of the draw.
        shares: split → its share of each class; they are scaled to sum to 1, a split of share 0 stays empty.
        names: the classes' names, for the error message; empty where all images count as one class.

    Raises:
        UserError: a class of fewer groups than splits, so that some split would lack it.
    """
    kept = [split for split in shares if shares[split] > 0]
    total = sum(shares[split] for split in kept)
    bins = _dealt(groups, labels, [shares[split] / total for split in kept], seed, names, "a split needs")
    return [kept[place] for place in bins]


def grouped_folds(
    groups: Sequence[str], labels: Sequence[int], folds: int, seed: int, names: Sequence[str] | None = None
) -> list[int]:
    """A fold, 0 to `folds` - 1, for each image: every class in equal shares, as `grouped_split` deals them.

    Raises:
        UserError: a class of fewer groups than folds.
    """
    return _dealt(groups, labels, [1 / folds] * folds, seed, names, f"{folds} folds need")


def _dealt(
    groups: Sequence[str], labels: Sequence[int], shares: list[float], seed: int, names: Sequence[str] | None, what: str
) -> list[int]:
    groups_of: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        groups_of[label].add(group)
    for label in sorted(groups_of):
        if (count := len(groups_of[label])) < len(shares):
            found = f"{count} group{'s' * (count != 1)} of photos (copies are one)"
            raise UserError(f"{_named(label, names)} has {found}; {what} at least {len(shares)}")
    bins = stratify_groups(groups, labels, shares, seed)
    there = set(zip(labels, bins, strict=True))
    for label in sorted(groups_of):
        if any((label, place) not in there for place in range(len(shares))):
            raise UserError(
                f"{_named(label, names)}: its {len(groups_of[label])} groups of photos hold other classes too and "
                f"cannot be dealt so that none of {len(shares)} parts lacks a class"
            )
    return bins


def _named(label: int, names: Sequence[str] | None) -> str:
    if names is None:
        return f"class {label}"
    return f"class {names[label]}" if names else "the data set"


def write_split(path: Path, photos: Mapping[str, Mapping[str, Any]], seed: int, **about: Any) -> None:
    """Write a split file: `{"format", "seed", **about, "photos": {content hash: entry}}`, the same bytes for the same.

    Args:
        photos: see `SplitFile`.
        about: what else is to be known of the split; `folds` where the entries have `fold`.
    """
    ordered = {digest: dict(photos[digest]) for digest in sorted(photos)}
    write_json(path, {"format": FORMAT, "seed": seed, **about, "photos": ordered})


def read_split(path: Path) -> SplitFile:
    """Read a split file and check every entry.

    Raises:
        UserError: no such file, no split file, or an entry that cannot be.
    """
    try:
        content = path.read_bytes()
        plain = json.loads(content)
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")])
        raise UserError(f"dataset.split_file: no file {path}{near}") from None
    except OSError as error:
        raise UserError(f"dataset.split_file: cannot read {path} ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"dataset.split_file: {path} is no split file ({error})") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if found != FORMAT or not isinstance(plain.get("photos"), dict):
        raise UserError(f"dataset.split_file: {path} is no split file (its format is {found!r}, not {FORMAT!r})")
    seed, folds = plain.get("seed", 0), plain.get("folds")
    if not _is_number(seed):
        raise UserError(f"dataset.split_file: {path}: seed {seed!r} is no number")
    if folds is not None and (not _is_number(folds) or folds < 2):
        raise UserError(f"dataset.split_file: {path}: folds {folds!r} is no number of at least 2, nor null")
    for digest, entry in plain["photos"].items():
        if (fault := _fault(entry, folds)) is not None:
            raise UserError(f"dataset.split_file: {path}: photo {digest[:16]}: {fault}")
    return SplitFile(path, hashlib.sha256(content).hexdigest(), seed, folds, plain["photos"])


def _fault(entry: object, folds: int | None) -> str | None:
    split = entry.get("split") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or (split is not None and split not in SPLITS):
        return f"split {split!r} is not one of {', '.join(SPLITS)} or null{did_you_mean(str(split), SPLITS)}"
    for key in ("group", "label"):
        value = entry.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            return f"{key} {value!r} is no name"
    fold = entry.get("fold")
    if fold is None:
        return f"no fold, but the file has {folds} folds" if folds is not None and split is not None else None
    if folds is None:
        return f"fold {fold!r}, but the file does not say how many folds there are"
    return None if _is_number(fold) and 0 <= fold < folds else f"fold {fold!r} is not one of 0 to {folds - 1}"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def apply_split(
    photos: Sequence[Photo],
    hashes: Sequence[str],
    split: SplitFile,
    names: Sequence[str],
    remedy: str = "make a new split, or take these photos out",
) -> list[Photo]:
    """The photos with the split, group and label that the file gives their contents.

    Args:
        photos: with the content hash of each.
        names: of the data set's classes; empty where photos have masks and no class of their own.
        remedy: what to do about photos that the file does not know.

    Raises:
        UserError: a photo whose contents the file does not know, or a label that is no class.
    """
    unknown = [photo.id for photo, digest in zip(photos, hashes, strict=True) if digest not in split.photos]
    if len(unknown) == len(photos):
        raise UserError(
            f"{split.path}: knows none of the {len(photos)} photos, first {unknown[0]}: it is the split of another "
            f"data set, or these files were written anew since ({remedy})"
        )
    if unknown:
        raise UserError(
            f"{split.path}: knows nothing of {len(unknown)} of the {len(photos)} photos, first {unknown[0]} ({remedy})"
        )
    return [_placed(photo, split.photos[digest], split, names) for photo, digest in zip(photos, hashes, strict=True)]


def _placed(photo: Photo, entry: Mapping[str, Any], split: SplitFile, names: Sequence[str]) -> Photo:
    label = photo.label
    if (name := entry.get("label")) is not None:
        folded = [fold(known) for known in names]
        if fold(name) not in folded:
            allowed = ", ".join(names) or "none: its photos have masks"
            near = did_you_mean(name, names)
            raise UserError(f"{split.path}: {photo.id}: label '{name}' is no class of the data set ({allowed}){near}")
        label = folded.index(fold(name))
    return replace(photo, split=entry.get("split"), group=entry.get("group"), label=label)


def split_hash(entries: Iterable[tuple[str, str, str]]) -> str:
    """16 hex digits over every sample's (split, id, label): runs with the same one saw the same split."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        digest.update("\0".join(entry).encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()[:16]

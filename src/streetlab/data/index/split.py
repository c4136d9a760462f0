"""Splits of photos into train, val and test, kept as files of content hashes, so that a split returns."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streetlab.data.index.scan import SPLITS, Photo
from streetlab.errors import UserError, did_you_mean
from streetlab.runs.files import write_json

FORMAT = "streetlab split 1"
SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def photo_hash(photo: Photo) -> str:
    """`content_hash` of a photo; one that cannot be read has no place in a split and is a UserError."""
    try:
        return content_hash(photo.path)
    except OSError as error:
        raise UserError(f"{photo.path}: cannot be read ({error.strerror or error})") from None


def stratified_split(hashes: Sequence[str], labels: Sequence[int], seed: int, names: Sequence[str]) -> dict[str, str]:
    """Content hash → split, 70/15/15 within every class.

    The draw depends on the seed and the contents alone, not on names or order; files with the same bytes
    share a split, also where they lie in two classes.

    Args:
        hashes, labels: of every photo.
        seed: of the draw.
        names: the classes' names, for the error message.

    Raises:
        UserError: a class of fewer than three distinct photos.
    """
    by_label: dict[int, set[str]] = defaultdict(set)
    for digest, label in zip(hashes, labels, strict=True):
        by_label[label].add(digest)
    split: dict[str, str] = {}
    for label in sorted(by_label):
        distinct = sorted(by_label[label] - split.keys())
        if len(distinct) < len(SPLITS):
            raise UserError(f"class {names[label]} has {len(distinct)} distinct photos; a split needs at least three")
        order = np.random.Generator(np.random.PCG64([seed, label])).permutation(len(distinct))
        held_out = max(1, round(SHARES["val"] * len(distinct)))
        for position, index in enumerate(order):
            name = "val" if position < held_out else "test" if position < 2 * held_out else "train"
            split[distinct[index]] = name
    return split


def write_split(path: Path, split: Mapping[str, str], seed: int) -> None:
    """Write a split file: `{"format", "seed", "photos": {sha256: {"split": ...}}}`."""
    photos = {digest: {"split": split[digest]} for digest in sorted(split)}
    write_json(path, {"format": FORMAT, "seed": seed, "photos": photos})


def read_split(path: Path) -> dict[str, dict[str, str]]:
    """Content hash → {"split": train, val, test or null (left out), "group": ... where known}.

    Raises:
        UserError: no such file, or no split file.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
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
    for digest, entry in plain["photos"].items():
        split = entry.get("split") if isinstance(entry, dict) else entry
        if not isinstance(entry, dict) or (split is not None and split not in SPLITS):
            raise UserError(
                f"dataset.split_file: {path}: photo {digest[:16]}: split {split!r} is not one of "
                f"{', '.join(SPLITS)} or null{did_you_mean(str(split), SPLITS)}"
            )
    return plain["photos"]


def apply_split(photos: Iterable[Photo], split: Mapping[str, Mapping[str, str]], path: Path) -> list[Photo]:
    """The photos with the split that the file gives their contents.

    Raises:
        UserError: a photo whose contents the file does not know, or that cannot be read.
    """
    placed, unknown = [], []
    for photo in photos:
        entry = split.get(photo_hash(photo))
        if entry is None:
            unknown.append(photo.id)
        else:
            placed.append(replace(photo, split=entry.get("split")))
    if unknown:
        raise UserError(
            f"{path}: knows nothing of {len(unknown)} of the photos, first {unknown[0]} "
            "(delete the file for a new split, or take these photos out)"
        )
    return placed


def split_hash(entries: Iterable[tuple[str, str, str]]) -> str:
    """16 hex digits over every sample's (split, id, label): runs with the same one saw the same split."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        digest.update("\0".join(entry).encode() + b"\n")
    return digest.hexdigest()[:16]

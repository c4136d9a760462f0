"""Splits of photos into train, val and test, kept as files of content hashes so that the same split returns."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streetlab.data.index.scan import SPLITS, Photo
from streetlab.errors import UserError
from streetlab.runs.files import write_json

FORMAT = "streetlab split 1"
SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stratified_split(hashes: Sequence[str], labels: Sequence[int], seed: int) -> dict[str, str]:
    """Content hash → split, 70/15/15 within every class.

    The draw depends on the seed and the contents alone, not on names or order; files with the same bytes
    share a split. A class of fewer than three distinct photos cannot be split.
    """
    by_label: dict[int, set[str]] = defaultdict(set)
    for digest, label in zip(hashes, labels, strict=True):
        by_label[label].add(digest)
    split: dict[str, str] = {}
    for label in sorted(by_label):
        distinct = sorted(by_label[label] - split.keys())
        if len(distinct) < len(SPLITS):
            raise UserError(f"class {label} has {len(distinct)} distinct photos; a split needs at least three")
        order = np.random.Generator(np.random.PCG64([seed, label])).permutation(len(distinct))
        held_out = max(1, round(SHARES["val"] * len(distinct)))
        for position, index in enumerate(order):
            name = "val" if position < held_out else "test" if position < 2 * held_out else "train"
            split[distinct[index]] = name
    return split


def write_split(path: Path, split: Mapping[str, str], seed: int) -> None:
    """Write a split file: `{"format", "seed", "photos": {sha256: {"split": ...}}}`."""
    photos = {digest: {"split": split[digest]} for digest in sorted(split)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": FORMAT, "seed": seed, "photos": photos})


def read_split(path: Path) -> dict[str, dict[str, str]]:
    """Content hash → {"split": ..., "group": ... where known}.

    Raises:
        UserError: no such file, or no split file.
    """
    try:
        plain = json.loads(path.read_text())
        if plain["format"] != FORMAT:
            raise ValueError(f"format is {plain['format']!r}, not {FORMAT!r}")
        return dict(plain["photos"])
    except FileNotFoundError:
        raise UserError(f"dataset.split_file: no file {path}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"dataset.split_file: {path} is no split file ({error})") from None


def apply_split(photos: Iterable[Photo], split: Mapping[str, Mapping[str, str]], path: Path) -> list[Photo]:
    """The photos with the split that the file gives their contents.

    Raises:
        UserError: a photo whose contents the file does not know.
    """
    placed, unknown = [], []
    for photo in photos:
        entry = split.get(content_hash(photo.path))
        if entry is None:
            unknown.append(photo.id)
        else:
            placed.append(replace(photo, split=entry["split"]))
    if unknown:
        raise UserError(
            f"{path}: knows nothing of {len(unknown)} photos, first {unknown[0]} "
            "(delete the file for a new split, or take these photos out)"
        )
    return placed


def split_hash(entries: Iterable[tuple[str, str, str]]) -> str:
    """16 hex digits over the (split, id, label) of every sample: runs with the same one saw the same split."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        digest.update("\0".join(entry).encode() + b"\n")
    return digest.hexdigest()[:16]

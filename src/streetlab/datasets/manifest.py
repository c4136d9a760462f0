"""List every photo that a data set holds, with split, label and contents, so that two data sets can be compared."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from streetlab.io.files import csv_text

COLUMNS = ("split", "id", "label", "content")


class Entry(NamedTuple):
    """One photo: `label` is its class, empty where pixels have classes; `content` is a hash of its files."""

    split: str
    id: str
    label: str
    content: str


@dataclass(frozen=True)
class Manifest:
    """The photos of a data set.

    Attributes:
        entries: one for each photo, in any order.
        split_hash: see `streetlab.datasets.splits.split_hash`; it knows no contents.
    """

    entries: Sequence[Entry]
    split_hash: str

    @cached_property
    def data_hash(self) -> str:
        """16 hex digits over split, id, label and contents of every photo, independent of paths."""
        return _digest(self.entries)

    @cached_property
    def photos_hash(self) -> str:
        """The same without the splits: folds of the same photos share it."""
        return _digest(entry[1:] for entry in self.entries)

    def to_csv(self) -> str:
        """The entries as a table, sorted."""
        return csv_text((entry._asdict() for entry in sorted(self.entries)), COLUMNS)


def read_entries(text: str) -> list[Entry]:
    """The inverse of `Manifest.to_csv`.

    Raises:
        ValueError: the text is no such table.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    if tuple(next(rows, ())) != COLUMNS:
        raise ValueError(f"the columns are not {', '.join(COLUMNS)}")
    return [Entry(*row) for row in rows]


def changes(old: Iterable[Entry], new: Iterable[Entry]) -> str:
    """Count the differences of two data sets: `3 photos came, 1 went, 2 changed, 1 changed its label`."""
    before, after = ({entry.id: entry for entry in entries} for entries in (old, new))
    shared = before.keys() & after.keys()

    def differing(place: int) -> int:
        return sum(before[id_][place] != after[id_][place] for id_ in shared)

    counts = [
        (len(after.keys() - shared), "came"),
        (len(before.keys() - shared), "went"),
        (differing(Entry._fields.index("content")), "changed"),
        (differing(Entry._fields.index("label")), "changed label"),
        (differing(Entry._fields.index("split")), "changed split"),
    ]
    parts = [f"{count} {verb}" for count, verb in counts if count]
    if not parts:
        return "none came, went or changed"
    count, _, verb = parts[0].partition(" ")
    return ", ".join([f"{count} photo{'s' * (count != '1')} {verb}", *parts[1:]])


def _digest(rows: Iterable[tuple[str, ...]]) -> str:
    digest = hashlib.sha256()
    for row in sorted(rows):
        digest.update("\0".join(row).encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()[:16]

"""Compare a record with a requested run: the same overrides, the same photos, the same weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streetlab.config.run_names import config_hash, file_keys, identity_hash
from streetlab.datasets.hashes import content_hashes
from streetlab.datasets.manifest import Manifest, changes
from streetlab.datasets.source import DataSource
from streetlab.records.record import RunRecord


@dataclass(frozen=True)
class Identity:
    """Identity of a run: its overrides, photos and weights; not their places.

    Attributes:
        config: what was asked, plain Python.
        photos: of the data set.
        contents: SHA-256 (hex) of the files that the config names, by its dotted keys; those that are there.
    """

    config: Mapping[str, Any]
    photos: Manifest
    contents: Mapping[str, str]

    @property
    def short_hash(self) -> str:
        """Eight hex digits of photos and weights, to distinguish folders of one name."""
        return unique_hash(self.photos, *(self.contents[key] for key in sorted(self.contents)))

    def has_words_of(self, record: RunRecord) -> bool:
        """Check that the record has the same overrides; older records hold paths by name only."""
        status = record.known_status
        known = status.get("contents")
        if known is None:
            return recorded_hash(record) == config_hash(self.config)
        # a file that is gone cannot be compared: there the name decides
        lost = {key: sha256 for key, sha256 in known.items() if key not in self.contents}
        return _words(record.config, known, lost) == _words(self.config, self.contents, lost)

    def has_photos_of(self, record: RunRecord) -> bool:
        """See `has_photos`."""
        return has_photos(record, self.photos)

    def is_of(self, record: RunRecord) -> bool:
        """Check that the record is of this run."""
        return self.has_photos_of(record) and self.has_words_of(record)

    def difference(self, record: RunRecord) -> str:
        """Describe the difference of the record's photos and weights to these; empty where there is none."""
        if not self.has_photos_of(record):
            return photos_differ(record, self.photos)
        known: Mapping[str, str] = record.known_status.get("contents") or {}
        return "; ".join(
            f"{key} holds another file (SHA-256 {known[key][:12]} then, {self.contents[key][:12]} now)"
            for key in known
            if key in self.contents and known[key] != self.contents[key]
        )


def other_photos(record: RunRecord, photos: Manifest, whatever_split: bool = False) -> str | None:
    """Line about the photos if they are not those that the record saw; None if they are.

    Args:
        whatever_split: photos of any of the record's splits are its own; records of before cannot tell.
    """
    if whatever_split:
        known = record.photos()
        same = known is None or {entry[1:] for entry in photos.entries} <= {entry[1:] for entry in known}
    else:
        same = has_photos(record, photos)
    if same:
        return None
    return f"these photos are not those of {record.path}: {photos_differ(record, photos)}"


def has_photos(record: RunRecord, photos: Manifest) -> bool:
    """Check that the record saw the same photos; a record without photos yet passes."""
    status = record.known_status
    if status.get("data_hash") is not None:
        return status["data_hash"] == photos.data_hash
    return status.get("split_hash") in (None, photos.split_hash)


def unique_hash(photos: Manifest, *sha256: str) -> str:
    """Eight hex digits of photos and files, to distinguish runs of one name."""
    return hashlib.sha256("\n".join([photos.data_hash, *sha256]).encode()).hexdigest()[:8]


def identify(config: Mapping[str, Any], source: DataSource) -> Identity:
    """Read a run's identity: the contents of its photos and files, most of them hashed before.

    Args:
        config: the run's, plain Python.
        source: its data set.
    """
    files = {key: path for key, path in file_keys(config).items() if path.is_file()}
    hashes = content_hashes(list(files.values()), source.cache_dir, "hashing weights")
    contents = {key: sha256 for key, sha256 in zip(files, hashes, strict=True) if sha256 is not None}
    return Identity(config, source.manifest(), contents)


def photos_differ(record: RunRecord, photos: Manifest) -> str:
    """Describe the difference to the record's photos, with both hashes and counts where known."""
    status = record.known_status
    if status.get("data_hash") is None:
        return f"split hash {status.get('split_hash')} then, {photos.split_hash} now"
    entries = record.photos()
    counts = "" if entries is None else f"{changes(entries, photos.entries)}; "
    return f"{counts}data hash {status['data_hash']} then, {photos.data_hash} now"


def recorded_hash(record: RunRecord) -> str:
    """`config_hash` of a record's config, its split file and teacher as the run read them: they may be gone by now."""
    status = record.known_status
    known = {key: (status.get(key) or {}).get("sha256") for key in ("split_file", "teacher")}
    return config_hash(record.config, **known)


def _words(config: Mapping[str, Any], contents: Mapping[str, str], lost: Mapping[str, str]) -> str:
    return identity_hash(config, {key: sha256 for key, sha256 in contents.items() if key not in lost})

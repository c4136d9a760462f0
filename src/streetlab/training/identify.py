"""Read what tells a run from others, without training anything: its photos and the files that its config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streetlab.data.hashes import content_hashes
from streetlab.data.source import DataSource
from streetlab.runs.identity import Identity
from streetlab.runs.naming import file_keys


def identify(config: Mapping[str, Any], source: DataSource) -> Identity:
    """Read what tells a run from others: its photos' contents and its files', most of them known from before.

    Args:
        config: the run's, plain Python.
        source: its data set.
    """
    files = {key: path for key, path in file_keys(config).items() if path.is_file()}
    hashes = content_hashes(list(files.values()), source.cache_dir, "hashing weights")
    contents = {key: sha256 for key, sha256 in zip(files, hashes, strict=True) if sha256 is not None}
    return Identity(config, source.manifest(), contents)

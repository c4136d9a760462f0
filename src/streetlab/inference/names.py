"""What results are called: the source's path without its suffix, one name for each file, never outside the folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain, count
from pathlib import PurePosixPath

from streetlab.io.filenames import fold

RESULT_SUFFIXES = (".png", ".jpg", ".mp4", ".webm", ".csv")
_LONGEST = 180
"""Bytes of one name; file systems take 255, of which suffixes and temporary names need some."""


class Names:
    """Hands out one stem for each file, so that no result lies where another's lies, or where a folder is needed.

    Args:
        taken: stems that are given away.
        files: the files to come, as `Item.file` has them: their folders are folders of the results too.
    """

    def __init__(self, taken: Iterable[str], files: Iterable[str]) -> None:
        self._taken = {fold(stem) for stem in taken}
        parts = (_safe(file) for file in files)
        self._folders = {fold(str(parent)) for file in parts for parent in PurePosixPath(file).parents}

    def stem(self, file: str) -> str:
        """`sub/a` for `sub/a.jpg`; `sub/a.jpg` where `sub/a` is taken, by `sub/a.png` say; then `sub/a.jpg-2`, ..."""
        whole = PurePosixPath(_safe(file))
        short = str(whole.with_suffix(""))
        candidates = chain([short, str(whole)], (f"{whole}-{number}" for number in count(2)))
        stem = next(filter(self._is_free, candidates))
        self._taken.add(fold(stem))
        return stem

    def _is_free(self, stem: str) -> bool:
        folded = fold(stem)
        return folded not in self._taken and not any(folded + suffix in self._folders for suffix in RESULT_SUFFIXES)


def _safe(file: str) -> str:
    """The path with its parts shortened to what a file system takes, and none that leads upwards."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("..", "/")]
    return str(PurePosixPath(*map(_shortened, parts)))


def _shortened(part: str) -> str:
    coded = part.encode("utf-8", errors="surrogateescape")
    if len(coded) <= _LONGEST:
        return part
    suffix = PurePosixPath(part).suffix
    suffix = suffix if len(suffix) <= 8 else ""
    digits = hashlib.sha256(coded).hexdigest()[:8]
    return f"{coded[: _LONGEST - 20].decode('utf-8', errors='ignore')}-{digits}{suffix}"

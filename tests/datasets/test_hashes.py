"""Contents are hashed once, and again only where a file may have changed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streetlab.datasets import hashes
from streetlab.datasets.hashes import FILE_NAME, content_hashes
from streetlab.io.archive import ZipMember


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files that last changed a minute ago, in the clock of the cache."""
    paths = [tmp_path / "data" / name for name in ("a.jpg", "b.jpg", "caf\udce9.jpg")]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)
    return paths


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in a world where every file settled long ago."""
    seen: list[Path] = []
    original = hashes.content_hash

    def noting(file: Path) -> str:
        seen.append(file)
        return original(file)

    monkeypatch.setattr(hashes, "content_hash", noting)
    monkeypatch.setattr(hashes, "changed_at", lambda file: 0.0)
    return seen


def expected(files: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_hashes_are_right_and_files_are_read_once(files: list[Path], read: list[Path], tmp_path: Path) -> None:
    assert content_hashes(files, tmp_path / "cache", "") == expected(files)
    assert content_hashes([files[2], files[0]], tmp_path / "cache", "") == expected([files[2], files[0]])
    assert sorted(read) == sorted(files)


def rewrite_with_times_kept(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"longer" * 400),
        lambda path: path.write_bytes(b"y" * 1000),
        rewrite_with_times_kept,
        lambda path: (path.with_name("new").write_bytes(b"z" * 1000), path.with_name("new").replace(path)),
    ],
)
def test_a_changed_file_is_read_again(
    change: Callable[[Path], object], files: list[Path], read: list[Path], tmp_path: Path
) -> None:
    content_hashes(files, tmp_path / "cache", "")
    time.sleep(0.02)  # one tick of the file system's clock
    change(files[1])
    read.clear()
    assert content_hashes(files, tmp_path / "cache", "") == expected(files)
    assert read == [files[1]]


def test_a_file_that_has_just_changed_is_not_kept_since_its_clock_may_stand_still(
    files: list[Path], tmp_path: Path
) -> None:
    content_hashes(files, tmp_path / "cache", "")
    with sqlite3.connect(tmp_path / "cache" / FILE_NAME) as store:
        assert store.execute("SELECT count(*) FROM hashes").fetchone() == (0,)


def test_a_closed_file_has_no_hash_and_gets_one_when_it_is_opened(files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "nothing.jpg"
    assert content_hashes([missing, files[0]], tmp_path / "cache", "") == [None, expected(files)[0]]
    missing.write_bytes(b"there")
    assert content_hashes([missing], tmp_path / "cache", "") == expected([missing])
    assert content_hashes([ZipMember(tmp_path / "no.zip", "a")], tmp_path / "cache", "") == [None]


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be read as one" * 40, b""])
def test_a_damaged_cache_is_replaced(damage: bytes, files: list[Path], read: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    content_hashes(files, cache, "")
    (cache / FILE_NAME).write_bytes(damage)
    assert content_hashes(files, cache, "") == expected(files)
    read.clear()
    assert content_hashes(files, cache, "") == expected(files)
    assert read == []


def test_without_a_place_for_a_cache_every_file_is_read(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert content_hashes(files, tmp_path / "file" / "cache", "") == expected(files)

"""Decoded images, kept: each split once as one uint8 array on disk, memory-mapped, so that epochs never decode.

A cache entry is a folder `<cache_dir>/<data set>/<key>/` with `images.npy` (N, H, W, 3) and `index.json`.
The key follows from the samples' fingerprints (path, size, time) and the image size, so a changed, added or
removed photo makes a new entry; rows whose contents are unchanged are copied from older entries rather than
decoded again. An entry is built in a folder of its own and then renamed: two processes that build the same
one at once both succeed, and a killed one leaves nothing that is mistaken for an entry.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streetlab.data.decode import UnreadablePhoto, resize
from streetlab.data.source import DataSource, Sample
from streetlab.errors import UserError
from streetlab.progress import track
from streetlab.runs.files import write_json

log = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Raised when decoding or resizing changes, which makes every older entry stale."""


@dataclass(frozen=True)
class CachedSplit:
    """One split's decoded images.

    Attributes:
        samples: those that decoded, in the order of the rows.
        images: (N, H, W, 3) uint8, memory-mapped and read-only.
        folder: where they lie.
    """

    samples: list[Sample]
    images: np.ndarray
    folder: Path


def open_cache(source: DataSource, split: str, size: tuple[int, int]) -> CachedSplit:
    """The split's images at `size` = (height, width), decoded now if no entry holds them yet.

    Raises:
        UserError: a photo does not decode and `dataset.on_error` is `fail`; the folder is not writable.
    """
    samples = list(source.samples(split))
    if not samples:
        raise UserError(f"dataset {source.name}: no samples in split '{split}'")
    fingerprints = [source.fingerprint(sample) for sample in samples]
    parent = source.cache_dir / source.name
    folder = parent / f"{split}-{size[0]}x{size[1]}-{_key(fingerprints, size)}"
    if not _is_whole(folder):
        try:
            _build(folder, source, samples, fingerprints, size, f"decoding {source.name}/{split}")
        except OSError as error:
            raise UserError(
                f"dataset.cache_dir: cannot write {folder} ({error.strerror or error}); give another with dataset.cache_dir=DIR"
            ) from None
    index = json.loads((folder / "index.json").read_text())
    skipped = dict(index["skipped"])
    if skipped:
        message = "; ".join(skipped.values())
        if source.on_error == "fail":
            raise UserError(f"{message} (dataset.on_error=skip leaves such photos out)")
        log.warning("left out %d of %d photos of %s: %s", len(skipped), len(samples), split, message)
    images = np.load(folder / "images.npy", mmap_mode="r")
    return CachedSplit([sample for sample in samples if sample.id not in skipped], images, folder)


def entries(cache_dir: Path) -> list[tuple[Path, int]]:
    """Every entry's folder under `cache_dir` and its size in bytes."""
    folders = sorted(path.parent for path in cache_dir.glob("*/*/index.json"))
    return [(folder, sum(f.stat().st_size for f in folder.iterdir())) for folder in folders]


def _key(fingerprints: Sequence[str], size: tuple[int, int]) -> str:
    text = "\n".join([str(CACHE_VERSION), str(size), *fingerprints])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_whole(folder: Path) -> bool:
    """Whether the entry is there and its array has the bytes that were written."""
    try:
        index = json.loads((folder / "index.json").read_text())
        images = folder / "images.npy"
        return images.stat().st_size == index["bytes"] and _head_checksum(images) == index["head_crc32"]
    except (OSError, ValueError, KeyError):
        return False


def _head_checksum(path: Path) -> int:
    """CRC-32 of the first MiB: enough to notice a file that a crash left as zeros."""
    with path.open("rb") as file:
        return zlib.crc32(file.read(1 << 20))


def _build(
    folder: Path,
    source: DataSource,
    samples: list[Sample],
    fingerprints: list[str],
    size: tuple[int, int],
    what: str,
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    building = folder.parent / f".building-{os.getpid()}-{folder.name}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        known = _Rows(folder.parent, size)
        hashes: list[str] = [""] * len(samples)
        skipped: dict[str, str] = {}

        def load(number: int) -> np.ndarray | None:
            sample = samples[number]
            row = known.by_fingerprint(fingerprints[number])
            if row is None:
                hashes[number] = source.content_hash(sample)
                row = known.by_content(hashes[number])
            else:
                hashes[number] = known.hash_of(fingerprints[number])
            if row is not None:
                return row
            try:
                return resize(source.read(sample, min_side=max(size)), size)
            except UnreadablePhoto as error:
                skipped[sample.id] = str(error)
                return None

        images = np.lib.format.open_memmap(
            building / "images.npy", mode="w+", dtype=np.uint8, shape=(len(samples), *size, 3)
        )
        kept: list[int] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, row in enumerate(track(_in_order(pool, load, len(samples)), what, len(samples))):
                if row is not None:
                    images[len(kept)] = row
                    kept.append(number)
        images.flush()
        del images
        if len(kept) < len(samples):
            _shorten(building / "images.npy", len(kept))
        write_json(
            building / "index.json",
            {
                "data_set": source.name,
                "size": list(size),
                "version": CACHE_VERSION,
                "bytes": (building / "images.npy").stat().st_size,
                "head_crc32": _head_checksum(building / "images.npy"),
                "rows": [[samples[n].id, fingerprints[n], hashes[n]] for n in kept],
                "skipped": sorted(skipped.items()),
            },
        )
        shutil.rmtree(folder, ignore_errors=True)  # only ever a broken one
        try:
            building.rename(folder)
        except OSError:
            if not _is_whole(folder):  # else another process was quicker, with the same contents
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _in_order(pool: ThreadPoolExecutor, load, count: int, ahead: int = 64) -> Iterator[np.ndarray | None]:
    """`load(0)`, `load(1)`, ... computed in the pool, at most `ahead` of them waiting in memory."""
    pending = [pool.submit(load, number) for number in range(min(ahead, count))]
    for number in range(count):
        yield pending[number].result()
        pending[number] = None  # type: ignore[call-overload]
        if number + ahead < count:
            pending.append(pool.submit(load, number + ahead))


def _shorten(path: Path, rows: int) -> None:
    """Rewrite the array with its first rows only."""
    short = path.with_name("short.npy")
    np.save(short, np.load(path, mmap_mode="r")[:rows])
    short.rename(path)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(".building-*"):
        process = folder.name.split("-")[1]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)


class _Rows:
    """Rows of older entries of the same size, by fingerprint and by content hash."""

    def __init__(self, parent: Path, size: tuple[int, int]) -> None:
        self._by_fingerprint: dict[str, tuple[np.ndarray, int, str]] = {}
        self._by_content: dict[str, tuple[np.ndarray, int, str]] = {}
        for folder in parent.glob(f"*-{size[0]}x{size[1]}-*"):
            if folder.name.startswith(".") or not _is_whole(folder):
                continue
            index = json.loads((folder / "index.json").read_text())
            if index["version"] != CACHE_VERSION:
                continue
            images = np.load(folder / "images.npy", mmap_mode="r")
            for row, (_, fingerprint, digest) in enumerate(index["rows"]):
                self._by_fingerprint[fingerprint] = self._by_content[digest] = (images, row, digest)

    def by_fingerprint(self, fingerprint: str) -> np.ndarray | None:
        return self._row(self._by_fingerprint.get(fingerprint))

    def by_content(self, digest: str) -> np.ndarray | None:
        return self._row(self._by_content.get(digest))

    def hash_of(self, fingerprint: str) -> str:
        return self._by_fingerprint[fingerprint][2]

    @staticmethod
    def _row(found: tuple[np.ndarray, int, str] | None) -> np.ndarray | None:
        return None if found is None else found[0][found[1]]

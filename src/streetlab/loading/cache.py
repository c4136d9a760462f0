"""Cache of decoded images: each split once as a memory-mapped uint8 array on disk; epochs never decode.

A cache entry is a folder `<cache_dir>/<data set>/<key>/` with `images.npy` (N, H, W, 3), `masks.npy` (N, H, W)
where the data set has masks, and `index.json`.
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
import platform
import re
import shutil
import zlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streetlab.datasets.decode import UnreadablePhoto, resize, resize_mask
from streetlab.datasets.source import DataSource, Sample, cannot_write, make_cache_folder
from streetlab.errors import UserError
from streetlab.io.parallel import WORTH_PROCESSES, in_order, process_pool
from streetlab.progress import track

log = logging.getLogger(__name__)

CACHE_VERSION = 5
"""Raised when decoding or resizing changes, which makes every older entry stale."""

_ENTRY_NAME = re.compile(r"[^.].*-\d+x\d+-[0-9a-f]{16}")
_BUILDING = ".building-"
_ARRAYS = {"images.npy": (3,), "masks.npy": ()}
"""The arrays of an entry and what follows (N, H, W) in their shapes; only data sets with masks have both."""

Row = tuple[np.ndarray, ...]
"""One image `(H, W, 3)` uint8, and its mask `(H, W)` uint8 where there are masks."""


@dataclass(frozen=True)
class CachedSplit:
    """One split's decoded images.

    Attributes:
        samples: those that decoded, in the order of the rows.
        images: (N, H, W, 3) uint8, memory-mapped and read-only.
        masks: (N, H, W) uint8 class ids, 255 = ignore, likewise; None where images have labels.
        folder: where they lie.
    """

    samples: list[Sample]
    images: np.ndarray
    masks: np.ndarray | None
    folder: Path


def open_cache(source: DataSource, split: str, size: tuple[int, int]) -> CachedSplit:
    """The split's images at `size` = (height, width), decoded now if no entry holds them yet.

    Raises:
        UserError: a photo does not decode and `dataset.on_error` is `fail`; no photo does; the folder is not
            writable or the disk is full.
    """
    samples = list(source.samples(split))
    if not samples:
        raise UserError(f"dataset {source.name}: no samples in split '{split}'")
    fingerprints = [source.fingerprint(sample) for sample in samples]
    parent = source.cache_dir / source.name
    folder = parent / f"{split}-{size[0]}x{size[1]}-{_key(fingerprints, size)}"
    if not _is_whole(folder):
        make_cache_folder(parent)
        try:
            _build(folder, source, samples, fingerprints, size, f"decoding {source.name}/{split}")
        except OSError as error:
            raise cannot_write(folder, error) from None
    index = json.loads((folder / "index.json").read_text())
    skipped = dict(index["skipped"])
    if skipped:
        message = _first_few(list(skipped.values()))
        if source.on_error == "fail":
            raise UserError(f"{message} (dataset.on_error=skip leaves such photos out)")
        if len(skipped) == len(samples):
            raise UserError(f"dataset {source.name}: no photo of split '{split}' decodes: {message}")
        log.warning("left out %d of %d photos of %s: %s", len(skipped), len(samples), split, message)
    arrays = [np.load(folder / name, mmap_mode="r") for name in _array_names(source.has_masks)]
    images, masks = arrays if source.has_masks else (arrays[0], None)
    return CachedSplit([sample for sample in samples if sample.id not in skipped], images, masks, folder)


def entries(cache_dir: Path) -> list[tuple[Path, int]]:
    """Every entry's folder under `cache_dir`, whole or broken, and its size in bytes.

    Only what has an entry's name and nothing but an entry's files counts, since entries are what
    `streetlab cache delete=true` deletes, in whatever folder it is given.
    """
    folders = [f for f in sorted(cache_dir.glob("*/*")) if f.is_dir() and _ENTRY_NAME.fullmatch(f.name)]
    found = []
    for folder in folders:
        files = list(folder.iterdir())
        if {file.name for file in files} <= {*_ARRAYS, "index.json"}:
            found.append((folder, sum(file.stat().st_size for file in files)))
    return found


def remove_abandoned(parent: Path) -> int:
    """Delete unfinished entries of killed processes in a data set's cache folder; return their number."""
    abandoned = [folder for folder in parent.glob(f"{_BUILDING}*") if not _is_alive(folder)]
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return len(abandoned)


def _key(fingerprints: Sequence[str], size: tuple[int, int]) -> str:
    text = "\n".join([str(CACHE_VERSION), str(size), *fingerprints])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _array_names(has_masks: bool) -> list[str]:
    return list(_ARRAYS) if has_masks else ["images.npy"]


def _is_whole(folder: Path) -> bool:
    """Check that the entry exists and its arrays have the bytes that were written."""
    try:
        index = json.loads((folder / "index.json").read_text())
        return all(_seal(folder / name) == seal for name, seal in index["arrays"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _seal(path: Path) -> dict[str, int]:
    """Size and checksum that tell a complete array from one that a crash cut short or left as zeros."""
    return {"bytes": path.stat().st_size, "head_crc32": _head_checksum(path)}


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
    remove_abandoned(folder.parent)
    building = folder.parent / f"{_BUILDING}{os.getpid()}@{platform.node()}-{folder.name}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        known = _Rows(folder.parent, size)
        hashes = source.content_hashes(samples)
        skipped: dict[str, str] = {}
        workers: Executor | None = None

        def load(number: int) -> Row | None:
            sample = samples[number]
            row = known.by_content(hashes[number])
            if row is not None:
                return row
            try:
                return workers.submit(_read, source, sample, size).result() if workers else _read(source, sample, size)
            except UnreadablePhoto as error:
                skipped[sample.id] = str(error)
                return None

        kept: list[int] = []
        # written, not mapped: a full disk kills a process that writes to a map, but is an error here
        with ExitStack() as stack:
            if source.drawn_when_read and len(samples) >= WORTH_PROCESSES:
                workers = stack.enter_context(process_pool())
            pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
            names = _array_names(source.has_masks)
            arrays = [stack.enter_context(_ArrayWriter(building / name, size)) for name in names]
            for number, row in enumerate(track(in_order(pool, load, range(len(samples))), what, len(samples))):
                if row is not None:
                    for array, part in zip(arrays, row, strict=True):
                        array.append(part)
                    kept.append(number)
        index = {
            "data_set": source.name,
            "size": list(size),
            "version": CACHE_VERSION,
            "arrays": {name: _seal(building / name) for name in names},
            "rows": [[samples[n].id, fingerprints[n], hashes[n]] for n in kept],
            "skipped": sorted(skipped.items()),
        }
        (building / "index.json").write_text(json.dumps(index, indent=1))
        _publish(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _read(source: DataSource, sample: Sample, size: tuple[int, int]) -> Row:
    if not source.has_masks:
        return (resize(source.read(sample, min_side=max(size)), size),)
    photo, mask = source.read_pair(sample, min_side=max(size))
    return resize(photo, size), resize_mask(mask, size)


class _ArrayWriter:
    """A uint8 `.npy` file that grows row by row; its header is rewritten at the end."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._shape = (*size, *_ARRAYS[path.name])
        self._rows = 0
        self._file = path.open("wb")
        self._write_header(0)
        self._start = self._file.tell()

    def append(self, row: np.ndarray) -> None:
        self._file.write(row.tobytes())
        self._rows += 1

    def __enter__(self) -> _ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header(self._rows)
                assert self._file.tell() == self._start, "NumPy pads headers so that the number of rows may change"
                self._file.flush()
                os.fsync(self._file.fileno())

    def _write_header(self, rows: int) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _publish(building: Path, folder: Path) -> None:
    """Rename a finished entry to its final name, unless another process was quicker with the same contents."""
    try:
        building.rename(folder)
    except OSError:
        if _is_whole(folder):  # and being read perhaps, so it stays
            return
        broken = building.with_name(f"{building.name}-broken")
        shutil.rmtree(broken, ignore_errors=True)
        folder.rename(broken)
        building.rename(folder)
        shutil.rmtree(broken, ignore_errors=True)


def _is_alive(building: Path) -> bool:
    """Check that the process that builds there may still run; only this machine's processes can be checked."""
    process, _, rest = building.name.removeprefix(_BUILDING).partition("@")
    if os.name != "posix" or not process.isdigit() or not rest.startswith(f"{platform.node()}-"):
        return True
    try:
        os.kill(int(process), 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _first_few(messages: Sequence[str], most: int = 5) -> str:
    """One line that stays readable where thousands of files are broken."""
    more = f"; and {len(messages) - most} more" if len(messages) > most else ""
    return "; ".join(messages[:most]) + more


class _Rows:
    """Rows of older entries of the same size, by content hash."""

    def __init__(self, parent: Path, size: tuple[int, int]) -> None:
        self._by_content: dict[str, tuple[list[np.ndarray], int]] = {}
        for folder in parent.glob(f"*-{size[0]}x{size[1]}-*"):
            if folder.name.startswith(".") or not _is_whole(folder):
                continue
            index = json.loads((folder / "index.json").read_text())
            if index["version"] != CACHE_VERSION:
                continue
            arrays = [np.load(folder / name, mmap_mode="r") for name in index["arrays"]]
            for row, (*_, digest) in enumerate(index["rows"]):
                self._by_content[digest] = (arrays, row)

    def by_content(self, digest: str | None) -> Row | None:
        if digest is None or digest not in self._by_content:
            return None
        arrays, row = self._by_content[digest]
        return tuple(array[row] for array in arrays)

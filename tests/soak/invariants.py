"""What must hold after a disturbance: the same results, nothing left over, everything readable."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

_CACHES = ("cache/", "caches/")
"""Where jobs keep decoded photos and hashes. They are no result, so that their contents are not compared."""
_TELLS_TIME = re.compile("seconds|minutes|per_second|git")
"""In the places of values that are equal in two runs by chance: rounded times, and the state of the code's folder."""
Leaves = dict[str, str]
"""The value of each smallest part of a file that can be told apart, by its place in the file."""


def leaves(path: Path, folder: Path) -> Leaves:
    """The parts of a file: values of JSON and YAML, cells of CSV, tensors of a checkpoint; else all of its bytes.

    Args:
        folder: the working folder. Its path stands in records, and is not the same for all runs of a command.
    """
    content = path.read_bytes().replace(os.fsencode(folder), b"FOLDER")
    try:
        match path.suffix:
            case ".json":
                return dict(_values(json.loads(content)))
            case ".jsonl":
                # a journal grows in the order of events: each line is told apart by its content
                return dict.fromkeys(sorted(_line(one) for one in content.splitlines()), "")
            case ".yaml":
                return dict(_values(yaml.safe_load(content)))
            case ".csv":
                rows = csv.DictReader(io.StringIO(content.decode()))
                return {f"{number}.{key}": str(value) for number, row in enumerate(rows) for key, value in row.items()}
            case ".ckpt":
                values = _values(torch.load(path, map_location="cpu", weights_only=False))
                return {place: value.replace(str(folder), "FOLDER") for place, value in values}
    except (ValueError, KeyError, yaml.YAMLError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise Unreadable(f"{path}: {type(error).__name__}: {str(error)[:200]}") from None
    return {"": hashlib.sha256(content).hexdigest()}


class Unreadable(Exception):  # noqa: N818  (what it is, not what went wrong)
    """A file that does not hold what its name promises."""


def _line(content: bytes) -> str:
    value = json.loads(content)
    return value["file"] if isinstance(value, dict) and "file" in value else content.decode()


def _values(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _values(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _values(inner, f"{place}.{number}")
    elif isinstance(value, torch.Tensor):
        yield place, hashlib.sha256(value.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
    else:
        yield place, repr(value)


@dataclass(frozen=True)
class Expected:
    """What undisturbed runs of a command leave behind.

    Attributes:
        files: the paths of all files, relative to the working folder; see `_kind`.
        stable: for each file the parts that were equal in two undisturbed runs; times and process numbers are not.
    """

    files: frozenset[str]
    stable: dict[str, Leaves]

    @classmethod
    def of(cls, first: Mapping[str, Leaves], second: Mapping[str, Leaves]) -> Expected:
        """What two undisturbed runs have in common.

        Raises:
            AssertionError: they left different files.
        """
        kinds = [frozenset(map(_kind, names)) for names in (first, second)]
        assert kinds[0] == kinds[1], f"undisturbed runs left different files: {kinds[0] ^ kinds[1]}"
        stable = {
            name: {
                place: value
                for place, value in parts.items()
                if second[name].get(place) == value and not _TELLS_TIME.search(place)
            }
            for name, parts in first.items()
            if not name.startswith(_CACHES)
        }
        return cls(kinds[0], stable)

    def violations(self, folder: Path) -> list[str]:
        """What is missing, too much or different in a folder where the command has ended well."""
        names = files_of(folder)
        kinds = set(map(_kind, names))
        found = [f"missing file: {name}" for name in sorted(self.files - kinds)]
        found += [f"file left over: {name}" for name in sorted(kinds - self.files)]
        for name in sorted(self.stable.keys() & names):
            try:
                parts = leaves(folder / name, folder)
            except Unreadable as error:
                found.append(f"unreadable: {error}")
                continue
            different = [place for place, value in self.stable[name].items() if parts.get(place) != value]
            if different:
                found.append(f"different: {name}: {len(different)} parts, first {different[0]!r}")
        return found


def _kind(name: str) -> str:
    """The path of a file; in the cache without the hash of when its photos were written, which is now for copies."""
    return re.sub(r"-[0-9a-f]{16}\b", "-HASH", name) if name.startswith(_CACHES) else name


def files_of(folder: Path) -> frozenset[str]:
    """The paths of all files in a folder, relative to it."""
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def snapshot(folder: Path) -> dict[str, Leaves]:
    """The parts of every file in a folder."""
    return {name: leaves(folder / name, folder) for name in files_of(folder)}


def unreadable_results(folder: Path) -> list[str]:
    """Files under their final names that cannot be read, in the middle of things: none may be half-written.

    Journals are appended to, and their last line may be cut off; what reads them allows for it.
    """
    found = []
    for name in sorted(files_of(folder)):
        path = folder / name
        if path.suffix in (".json", ".yaml", ".ckpt") and not path.name.startswith("."):
            try:
                leaves(path, folder)
            except Unreadable as error:
                found.append(f"half-written: {error}")
    return found


def processes_marked(mark: str) -> list[int]:
    """The processes whose environment holds a variable of that value: those that a command started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                ended = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not ended and mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended, or is not ours
    return found


def shared_memory() -> frozenset[str]:
    """The names in /dev/shm."""
    return frozenset(path.name for path in Path("/dev/shm").iterdir())


def nobodys(names: Iterable[str]) -> list[str]:
    """Those of the names in /dev/shm that no living process has mapped or put its number into: others use it too."""
    maps = []
    for entry in Path("/proc").iterdir():
        try:
            maps.append((entry / "maps").read_text() if entry.name.isdigit() else "")
        except OSError:
            continue
    words = {name: re.split(r"[^0-9A-Za-z]", name) for name in names}  # digits within a word are no process number
    names = [name for name in words if not any(word.isdigit() and Path("/proc", word).exists() for word in words[name])]
    return sorted(name for name in names if not any(f"/dev/shm/{name}" in one for one in maps))

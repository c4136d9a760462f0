"""Find the photos and videos that `source=` names: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from streetlab.datasets.content import (
    HEAD_BYTES,
    HIDDEN,
    NEEDS_EXTRA,
    NO_IMAGE,
    PHOTO_SUFFIXES,
    UNREAD,
    UNREADABLE,
    Kind,
    PassedOver,
    is_unread,
    kind_of,
    needs_extra,
)
from streetlab.datasets.scan import is_system
from streetlab.errors import UserError, did_you_mean

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
                  ".wmv", ".flv", ".ogv", ".3gp"}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One file to predict.

    Attributes:
        path: absolute.
        file: its path under the folder or pattern that it was found by, with forward slashes; several sources
            put their own names in front.
        kind: what it holds by its first bytes; where those say nothing, what its name promises.
        bytes: its size.
        modified: its modification time in nanoseconds.
    """

    path: Path
    file: str
    kind: Kind
    bytes: int
    modified: int


@dataclass
class Found:
    """Files found at the sources of a prediction.

    Attributes:
        items: sorted by source and name, each file once.
        links: those that point out of their folder, which are not followed.
        passed: the files that were not taken, by reason.
    """

    items: list[Item] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    passed: PassedOver = field(default_factory=PassedOver)


def find_items(sources: Sequence[str], output: Path, recursive: bool = True) -> Found:
    """Every photo and video of the sources.

    A file is taken whatever it is called if it holds a photo or a video, and whatever it holds if its name promises
    one, so that a damaged one is told of. Hidden files, those of the system and the output's own are passed over.
    Links inside a folder are not followed: what they point to is taken where it lies.

    Args:
        sources: a file, a folder or a glob each; a name that exists is no glob, whatever its brackets.
        output: the folder of the results, which nothing is read from.
        recursive: look into the folders inside a folder.

    Raises:
        UserError: a source does not exist or matches nothing, lies inside the output, may not be read, or none of
            them holds a photo or a video.
    """
    found, seen = Found(), set[str]()
    inside = Path(os.path.realpath(output))
    heads = _heads(sources)
    for source, head in zip(sources, heads, strict=True):
        for path, name, promised in _candidates(source, inside, recursive, found):
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            item = _item(Path(real), str(PurePosixPath(head, name)), promised)
            if isinstance(item, Item):
                found.items.append(item)
            else:
                found.passed.add(item, str(PurePosixPath(head, name)))
    found.links = list(dict.fromkeys(found.links))
    if not found.items:
        raise UserError(f"source: {', '.join(sources)}: no photos and no videos there{_instead(found)}")
    return found


def _candidates(source: str, output: Path, recursive: bool, found: Found) -> Iterator[tuple[Path, str, bool]]:
    """Each file of a source, its name there, and whether it was given by its very name."""
    path = Path(source).expanduser()
    if _exists(path):
        if Path(os.path.realpath(path)).is_relative_to(output):
            raise UserError(f"source: {path} lies in the folder of the results; give another with output=DIR")
        if path.is_dir():
            for file in _walk(path, output, recursive, found):
                yield file, file.relative_to(path).as_posix(), False
        elif path.is_file():
            yield path, path.name, True
        else:
            raise UserError(f"source: {path} is neither a file nor a folder")
        return
    if not glob.has_magic(source):
        raise UserError(f"source: no file or folder {path}{_nearest(path)}")
    base = _base_of(path)
    root = Path(os.path.realpath(base))
    names = glob.glob(str(path), recursive=True)  # noqa: PTH207  (Path.glob takes no absolute pattern)
    matches = [Path(match) for match in sorted(names)]
    if not matches:
        raise UserError(f"source: nothing matches {source} (a glob; quote it, so that the shell leaves it alone)")
    for match in matches:
        real = Path(os.path.realpath(match))
        if real.is_relative_to(output):
            continue
        if not real.is_relative_to(root):
            found.links.append(match)
        elif real.is_dir():
            for file in _walk(match, output, True, found) if recursive else ():
                yield file, _under(file, base), False
        elif not any(is_system(part) for part in match.relative_to(base).parts):
            yield match, _under(match, base), False


def _walk(folder: Path, output: Path, recursive: bool, found: Found) -> Iterator[Path]:
    """The files of a folder in the order of their names; links that point out of it are noted."""
    root = Path(os.path.realpath(folder))
    for at, inside, names in os.walk(folder, onerror=_closed):
        here = Path(at)
        for name in (*inside, *names):
            link = here / name
            if link.is_symlink() and not is_system(name) and not _leads_into(link, root):
                found.links.append(link)
        inside[:] = [
            name
            for name in sorted(inside)
            if recursive
            and not is_system(name)
            and not (here / name).is_symlink()
            and not Path(os.path.realpath(here / name)).is_relative_to(output)
        ]
        for name in sorted(names):
            if is_system(name):
                found.passed.add(HIDDEN, (here / name).relative_to(folder).as_posix())
            elif not (here / name).is_symlink():
                yield here / name


def _item(path: Path, file: str, promised: bool) -> Item | str:
    """The file as an item; the reason why it is none where it neither holds nor promises a photo or a video.

    Args:
        promised: it was given by its name, and is an item whatever it holds.
    """
    suffix = path.suffix.lower()
    by_name: Kind | None = "video" if suffix in VIDEO_SUFFIXES else "photo" if suffix in PHOTO_SUFFIXES else None
    kind: Kind | None = None
    size = modified = 0
    reason = NO_IMAGE
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return UNREADABLE  # a pipe or a device, which may keep its reader waiting for ever
        size, modified = status.st_size, status.st_mtime_ns
        with path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
        if needs_extra(head) and by_name is None and not promised:
            return NEEDS_EXTRA
        reason = UNREAD if is_unread(head) else reason
        kind = kind_of(head)
    except OSError:
        reason = UNREADABLE  # unless its name promises a photo: then whoever reads it will say so
    kind = kind or by_name or ("photo" if promised else None)
    return Item(path, file, kind, size, modified) if kind else reason


def _heads(sources: Sequence[str]) -> list[str]:
    """The prefix of the names of each source: none for one source, the folder's name for several."""
    if len(sources) == 1:
        return [""]
    heads: list[str] = []
    for source in sources:
        path = Path(source).expanduser()
        if _exists(path) and not path.is_dir():
            heads.append("")
            continue
        folder = path if _exists(path) else _base_of(path)
        heads.append(Path(os.path.realpath(folder)).name)
    return heads


def _base_of(pattern: Path) -> Path:
    """The folder that a glob starts from: what stands before its first wildcard."""
    plain = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain)


def _under(path: Path, base: Path) -> str:
    name = path.relative_to(base)
    return path.name if ".." in name.parts else name.as_posix()


def _leads_into(link: Path, root: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(root)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a zero byte
        return False


def _nearest(path: Path) -> str:
    """`; did you mean ...?` for a file or folder of a similar name beside it, else the folder that is missing."""
    if path.parent.is_dir():
        names = [entry.name for entry in path.parent.iterdir()] if os.access(path.parent, os.R_OK) else []
        return did_you_mean(path.name, names)
    return f" (there is no folder {path.parent})"


def _instead(found: Found) -> str:
    """List the files found instead, in brackets."""
    reasons = [found.passed.sentence()] if found.passed.counts else []
    if found.links:
        reasons.append(f"links that point out of the folder are not followed: {found.links[0]}")
    return f" ({'; '.join(reasons)})" if reasons else ""


def _closed(error: OSError) -> None:
    raise UserError(f"source: {error.filename}: cannot be read ({error.strerror})") from None

"""`streetlab fetch`: list public data sets and weights, and bring those that are named."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pydantic
from omegaconf import DictConfig
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from streetlab.config.options import CLOSED, Folder, Listed, OneOf, command_options
from streetlab.errors import UserError
from streetlab.fetch.download import DownloadError, Show, download, stated_sha256
from streetlab.fetch.sources import SOURCES, Source
from streetlab.fetch.unpack import files_sha256, is_whole_zip, unpack
from streetlab.io.filenames import one_line
from streetlab.io.files import file_sha256
from streetlab.progress import shows_bars

_TOOL = "csDownload"


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """The keys of conf/fetch.yaml."""

    name: Annotated[tuple[Annotated[str, OneOf(tuple(SOURCES))], ...], Listed] = ()
    output: Folder = Path("data")


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/fetch.yaml.

    Raises:
        UserError: a wrong name; no network, with what to put where; a wrong checksum; a full disk.
    """
    options = command_options(Options, cfg)
    if not options.name:
        _print_list(options.output)
    for name in dict.fromkeys(options.name):
        fetch(name, SOURCES[name], options.output)


def fetch(name: str, source: Source, output: Path) -> Path:
    """Bring one source below `output`, unless it lies there already, and print where it is and what takes it.

    Returns:
        The file or folder.

    Raises:
        UserError: see `run`.
    """
    place = output / source.place
    print(one_line(f"{name}: {source.title}; licence: {source.licence}"))
    if _is_there(source, place):
        digest = _checked(source, place)
        print(one_line(f"{name}: {place} is there already ({_checksum_words(source, digest)})"))
    elif source.packages:
        _bring_by_tool(name, source, place)
    else:
        stated = stated_sha256(source.url) if source.sha256 is None and not source.folders else None
        digest = _bring(name, replace(source, sha256=stated) if stated else source, place)
        checked = f"SHA-256 {digest} as its server states" if stated else _checksum_words(source, digest)
        print(one_line(f"{name}: {place} ({checked})"))
    print(one_line(f"  {source.use.format(place=shlex.quote(str(place)))}"))
    return place


def _bring(name: str, source: Source, place: Path) -> str:
    # the checksum of a source with folders is that of its files: hosts pack a zip anew whenever they like
    file = place.with_name(f"{place.name}.zip") if source.folders else place
    try:
        with _bar(name) as show:
            digest = download(source.url, file, None if source.folders else source.sha256, show)
    except DownloadError as error:
        raise UserError(f"{name}: {error}; {_by_hand(source, place)}") from None
    if source.folders:
        print(f"{name}: unpacking {file.name}")
        digest = unpack(file, source.inside, source.folders, place, source.sha256)
        file.unlink()
    return digest


def _bring_by_tool(name: str, source: Source, place: Path) -> None:
    """Let the source's own tool ask for the login and bring the packages that are missing or cut."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    tool = shutil.which(_TOOL, path=beside)
    if tool is None:
        raise UserError(
            f"{name}: its own tool {_TOOL} is missing (pip install cityscapesscripts); {_by_hand(source, place)}"
        )
    place.mkdir(parents=True, exist_ok=True)
    missing = [package for package in source.packages if not is_whole_zip(place / package)]
    words = [tool, "--resume", "--destination_path", str(place), *missing]
    errors = None if sys.stdin.isatty() else subprocess.PIPE  # in a terminal its questions and bars are for the user
    done = subprocess.run(words, check=False, stderr=errors, text=True)
    cut = [package for package in missing if not is_whole_zip(place / package)]
    if done.returncode or cut:
        reason = (done.stderr or "").strip().rpartition("\n")[2] or f"no whole {' and '.join(cut)} came"
        raise UserError(
            f"{name}: {_TOOL} failed ({reason}); once more, in a terminal, it asks for the login and goes on where it "
            f"stopped; {_by_hand(source, place)}"
        )
    print(one_line(f"{name}: {place} (checked by {_TOOL})"))


def _is_there(source: Source, place: Path) -> bool:
    if source.packages:
        return all(is_whole_zip(place / package) for package in source.packages)
    if source.folders:
        return all((place / folder).is_dir() for folder in source.folders)
    return place.is_file()


def _checked(source: Source, place: Path) -> str:
    """The SHA-256 of what is there; empty where a tool has checked it.

    Raises:
        UserError: it is not that of the source.
    """
    if source.packages:
        return ""
    digest = files_sha256(place, source.folders) if source.folders else file_sha256(place)
    if source.sha256 is not None and not digest.startswith(source.sha256):
        raise UserError(
            f"{place} is there, but not as published (SHA-256 {digest}, not {_digits(source.sha256)}); "
            "use it as it is, move it away, or choose another folder with output=DIR"
        )
    return digest


def _checksum_words(source: Source, digest: str) -> str:
    if source.packages:
        return f"{' and '.join(source.packages)} are whole"
    if source.sha256 is None:
        return f"checksum not known, not checked; SHA-256 {digest}"
    return f"SHA-256 {_digits(source.sha256)} as expected"


def _by_hand(source: Source, place: Path) -> str:
    """Say which files to put where, for a machine without a network."""
    if source.packages:
        return f"or register at {source.url} and put {' and '.join(source.packages)} into {place}/"
    if source.folders:
        folders = ", ".join(f"{folder}/" for folder in source.folders)
        return f"without a network, put {folders} of {source.inside}/ in that zip into {place}/"
    return f"without a network, put that file at {place}"


def _digits(sha256: str) -> str:
    return f"{sha256[:16]}…"


@contextmanager
def _bar(name: str) -> Iterator[Show]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not shows_bars(console)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_list(output: Path) -> None:
    width = max(map(len, SOURCES))
    for name, source in SOURCES.items():
        size = "size not known" if source.size is None else decimal(source.size)
        checksum = f"SHA-256 {_digits(source.sha256)}" if source.sha256 else "checksum not known"
        known = "size and checksum by its own tool" if source.packages else f"{size}, {checksum}"
        there = "  (there)" if _is_there(source, output / source.place) else ""
        print(f"{name:<{width}}  {known}{there}")
        print(f"    {source.title}\n    licence: {source.licence}")
    print(one_line(f"streetlab fetch name=NAME brings one into {output}/; output=DIR: elsewhere"))

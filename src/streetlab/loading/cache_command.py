"""`streetlab cache`: show the contents of the decoded-image cache and delete it on request."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydantic
from omegaconf import DictConfig
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from streetlab.config.options import CLOSED, Flag, Folder, command_options
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import one_line
from streetlab.loading.cache import entries, remove_abandoned


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """The keys of conf/cache.yaml."""

    cache_dir: Folder = Path("outputs/.cache")
    delete: Flag = False


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/cache.yaml.

    Raises:
        UserError: no such folder, an entry that cannot be deleted, or a value that its key does not take.
    """
    options = command_options(Options, cfg)
    folder = options.cache_dir
    if not folder.is_dir():
        near = did_you_mean(folder.name, [p.name for p in folder.parent.glob("*") if p.is_dir()])
        raise UserError(f"cache_dir: no folder {folder}{near} (a run makes it when it first decodes photos)")
    found = entries(folder)
    print(one_line(f"decoded images in {folder}"))
    table = Table()
    table.add_column("entry", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for entry, size in found:
        table.add_row(escape(entry.relative_to(folder).as_posix()), decimal(size))
    table.add_row("[bold]all[/bold]", f"[bold]{decimal(sum(size for _, size in found))}[/bold]")
    Console().print(table)
    if options.delete:
        _delete([entry for entry, _ in found], folder)


def _delete(found: list[Path], folder: Path) -> None:
    for entry in found:
        try:
            shutil.rmtree(entry)
        except OSError as error:
            raise UserError(f"cache_dir: cannot delete {entry} ({error.strerror or error})") from None
    left = sum(remove_abandoned(parent) for parent in folder.glob("*") if parent.is_dir())
    print(f"deleted {len(found)} entries" + (f" and {left} that were never finished" if left else ""))

"""`streetlab cache`: shows what the decoded-image cache holds, and deletes it on request."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from streetlab.data.cache import entries
from streetlab.errors import UserError


def run(cfg: Any) -> None:
    """Entry point of the command; `cfg` is conf/cache.yaml."""
    folder = Path(cfg.cache_dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"cache_dir: no folder {folder}")
    found = entries(folder)
    table = Table(title=f"decoded images in {folder}")
    table.add_column("entry")
    table.add_column("size", justify="right")
    for entry, size in found:
        table.add_row(entry.relative_to(folder).as_posix(), decimal(size))
    table.add_row("[bold]all[/bold]", f"[bold]{decimal(sum(size for _, size in found))}[/bold]")
    Console().print(table)
    if cfg.delete:
        for entry, _ in found:
            shutil.rmtree(entry)
        print(f"deleted {len(found)} entries")

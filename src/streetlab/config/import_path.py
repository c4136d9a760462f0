"""Make a config's own modules importable: the folders of configs beside ours, as `--config-dir` names them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_added: list[str] = []


def extend_import_path(folders: Iterable[str | Path]) -> None:
    """Append these folders to the import path: none of their modules can replace a package.

    Folders that are gone are left out.
    """
    for folder in folders:
        path = str(folder)
        if path not in sys.path and Path(path).is_dir():
            sys.path.append(path)
            _added.append(path)


def import_path() -> list[str]:
    """The folders added in this process: a record keeps them, since its networks may be there."""
    return list(_added)


@contextmanager
def config_folders_importable() -> Iterator[None]:
    """Make the modules beside a job's configs importable while the job runs."""
    from hydra.core.hydra_config import HydraConfig

    before = list(_added)
    sources = HydraConfig.get().runtime.config_sources
    extend_import_path(source.path for source in sources if source.schema == "file" and source.provider != "main")
    try:
        yield
    finally:
        for path in _added[len(before) :]:
            if path in sys.path:
                sys.path.remove(path)
        _added[:] = before

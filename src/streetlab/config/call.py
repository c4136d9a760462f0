"""Call a command from Python: composed, checked and run as its command line would be, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from streetlab.config.command_line import CommandLine, arrange, collect, is_sweep
from streetlab.config.composition import config_folder
from streetlab.config.import_path import config_folders_importable
from streetlab.config.quoting import quote
from streetlab.config.resolvers import register_resolvers
from streetlab.config.schema import register_schemas
from streetlab.config.translation import translate
from streetlab.config.values import check_nothing_missing
from streetlab.errors import UserError
from streetlab.hydra_compat import fresh_globals, run_job

if TYPE_CHECKING:
    from omegaconf import DictConfig

Result = TypeVar("Result")
_ONE_AT_A_TIME = threading.RLock()
"""Hydra keeps the running config in globals of the process; calls of other threads wait."""


def call(
    command: str,
    overrides: Sequence[str],
    perform: Callable[[DictConfig], Result],
    config_dir: Path | None = None,
) -> Result:
    """Run one job of a command and return what `perform` returns for its config.

    Nothing of the process is changed for good: neither `sys.argv`, nor Hydra's globals, so that a program that has
    initialised Hydra itself finds it as it was.

    Args:
        command: the root config's name.
        overrides: as on the command line, paths unquoted.
        perform: gets the composed config without its `hydra` node.
        config_dir: a further folder of configs, as of `--config-dir`.

    Raises:
        UserError: an override that the command line would refuse, or that asks for several jobs.
    """
    line = collect(_arranged(command, overrides), command)
    if config_dir is not None:
        line = CommandLine([], [*line.overrides, _searched(config_dir)], str(config_dir))
    results: list[Result] = []
    failures: list[Exception] = []

    def job(cfg: DictConfig) -> None:
        try:
            with config_folders_importable():
                check_nothing_missing(cfg)
                results.append(perform(cfg))
        except Exception as error:  # not one of the composition, which would be translated
            failures.append(error)
            _remove_empty_folder(command)

    with _ONE_AT_A_TIME, fresh_globals(), translated(command, line):
        register()
        run_job(config_folder(), command, line.overrides, job)
    if failures:
        raise failures[0]
    return results[0]


def register() -> None:
    """Register the schemas and resolvers that the root configs use; may be called again."""
    register_schemas()
    register_resolvers()


@contextmanager
def translated(command: str, line: CommandLine) -> Iterator[None]:
    """Raise the errors of Hydra and OmegaConf about a line's words as a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        known = translate(error, command, line)
        if known is None:
            raise
        raise known from error


def _arranged(command: str, overrides: Sequence[str]) -> CommandLine:
    line = arrange([str(word) for word in overrides])
    if is_sweep([*line.options, *line.overrides]):
        raise UserError(f"overrides: a sweep is of several jobs; call {command} once for each")
    if line.options:
        raise UserError(f"overrides: {line.options[0]} is an option of the command line; give key=value alone")
    return line


def _searched(config_dir: Path) -> str:
    folder = config_dir.expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"config_dir: no folder {folder}")
    return f"hydra.searchpath=[{quote(f'file://{folder}')}]"


def _remove_empty_folder(command: str) -> None:
    """Remove the folder that Hydra made for a run's record, where nothing is in it."""
    from hydra.core.hydra_config import HydraConfig

    if command == "train":
        with suppress(OSError):
            Path(HydraConfig.get().runtime.output_dir).rmdir()

"""Private parts of Hydra and OmegaConf that streetlab needs, each with its reason; no other module touches them."""

from __future__ import annotations

import contextlib
import io
import sys
from argparse import Action
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override


def command_line_options() -> dict[str, Action]:
    """Hydra's options (`-m`, `--cfg`, ...) by name; its parser is the only list of them."""
    from hydra._internal.utils import get_args_parser

    return {name: action for action in get_args_parser()._actions for name in action.option_strings}


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Change a composed config as Hydra's command line would; its public API applies overrides to files only."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def is_glob(override: Override) -> bool:
    """True for `key=glob(...)`; `Override.value` refuses to return it, and `sweep_string_iterator` expands it."""
    from hydra.core.override_parser.types import Glob

    return isinstance(override._value, Glob)


def root_of(node: DictConfig | ListConfig) -> Any:
    """Config that a node is part of, whose cache of interpolations Hydra hands on from a sweep to its jobs."""
    return node._get_root()


def full_key(node: DictConfig | ListConfig) -> str:
    """Dotted key of a node in its config, which error messages name."""
    return str(node._get_full_key(None))


def has_mapping(config: DictConfig, key: str) -> bool:
    """True where the key holds a mapping; reading it publicly would resolve an interpolation, or raise."""
    return isinstance(config._get_node(key), DictConfig)


@contextmanager
def fresh_globals() -> Iterator[None]:
    """Hide what a program has initialised of Hydra by itself, and give it back after the block."""
    from hydra.core.global_hydra import GlobalHydra

    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before  # another instance: `initialize` puts a copy in its place


def run_job(folder: Path, root: str, overrides: Sequence[str], task: Callable[[DictConfig], None]) -> None:
    """Run one job of a root config without `hydra.main`, which reads `sys.argv` and leaves by `sys.exit`.

    Its public `compose` gives no job its `HydraConfig` and folder.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(config_dir=str(folder), job_name=root, version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.run(root, task, list(overrides), with_log_configuration=False)


def completion_script(shell: str, program: str) -> str:
    """Script of Hydra's completion plugin for a shell, whose public way is to print it for `sys.argv[0]`.

    Inside `composer`.
    """
    from hydra._internal.hydra import Hydra

    printed, argv = io.StringIO(), sys.argv
    sys.argv = [program]
    try:
        with contextlib.redirect_stdout(printed):
            Hydra.get_shell_to_plugin_map(_config_loader())[shell][0].install()
    finally:
        sys.argv = argv
    return printed.getvalue()


def complete(root: str, overrides: Sequence[str], word: str) -> list[str]:
    """Groups, choices and keys that begin with `word`; inside `composer`. Overrides with blanks are left out.

    The plugin's public way is to print them, and reads the line with the name of one program, not of a command.
    """
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    line = " ".join([*(given for given in overrides if not any(map(str.isspace, given))), word])
    return DefaultCompletionPlugin(_config_loader())._query(config_name=root, line=line)


def complete_path(path: str) -> list[str]:
    """Files and folders that begin with `path`, folders with a slash at the end."""
    from hydra.plugins.completion_plugin import CompletionPlugin

    names = CompletionPlugin.complete_files(path or "./")
    return sorted(f"{name}/" if Path(name).is_dir() else name for name in names)


def _config_loader() -> ConfigLoader:
    from hydra.core.global_hydra import GlobalHydra

    return GlobalHydra.instance().config_loader()

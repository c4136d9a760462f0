"""Private parts of Hydra and OmegaConf that streetlab needs, each with its reason; no other module touches them."""

from __future__ import annotations

from argparse import Action
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

if TYPE_CHECKING:
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

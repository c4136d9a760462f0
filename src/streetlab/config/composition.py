"""Compose root configs outside a command: the location of `conf/`, the choices, one config from overrides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import streetlab
from streetlab.config.quoting import quote

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig


def config_folder() -> Path:
    """`conf/` of the checkout, or the copy that travels inside an installed wheel."""
    package = Path(streetlab.__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


class Composer:
    """Composes configs from the folders that a command line searches; made by `composer`."""

    def __init__(self, loader: ConfigLoader, searched: Sequence[str]) -> None:
        self._loader = loader
        self._searched = list(searched)

    def compose(self, name: str, overrides: Sequence[str] = ()) -> DictConfig:
        """Compose the config of root `name` without its `hydra` node."""
        from hydra import compose

        return compose(name, overrides=[*self._searched, *overrides])

    def defaults(self, name: str) -> dict[str, str | None]:
        """The choice that root `name` makes in each of its groups; None where it leaves one open."""
        from hydra import compose

        config = compose(name, overrides=self._searched, return_hydra_config=True)
        return dict(config.hydra.runtime.choices)

    def roots(self) -> list[str]:
        """The root config of every command."""
        return sorted(path.stem for path in config_folder().glob("*.yaml"))

    def groups(self) -> list[str]:
        """Every group with choices, Hydra's own left out."""
        from hydra.core.object_type import ObjectType

        found = self._loader.get_group_options("", ObjectType.GROUP, overrides=self._searched)
        return sorted(group for group in found if group != "hydra" and self.choices(group))

    def choices(self, group: str) -> list[str]:
        """The choices of a group, in alphabetical order; empty where there is no such group."""
        return sorted(self._loader.get_group_options(group, overrides=self._searched))


@contextmanager
def composer(config_dir: str | None = None) -> Iterator[Composer]:
    """A Composer over `conf/` and, after it, the folder given with `--config-dir`.

    Inside a command it is the command's own search path, whatever `config_dir`.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from streetlab.config.resolvers import register_resolvers
    from streetlab.config.schema import register_schemas

    running = GlobalHydra.instance()
    if running.is_initialized():
        yield Composer(running.config_loader(), [])
        return
    register_schemas()
    register_resolvers()
    searched = []
    if config_dir is not None:
        searched = [f"hydra.searchpath=[{quote('file://' + str(Path(config_dir).absolute()))}]"]
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        yield Composer(GlobalHydra.instance().config_loader(), searched)

"""A config's values as plain Python, and the complaint about those that nobody gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from streetlab.errors import UserError

# Keys that people know from elsewhere, and what stands in their place.
REFUSED = {
    "trainer.max_epochs": "trainer.max_epochs cannot be set, since each phase has its own length; "
    "regime.max_epochs caps every phase"
}


def plain(config: DictConfig | ListConfig) -> Any:
    """Convert a config to dicts and lists with every interpolation resolved.

    Raises:
        UserError: a mandatory value is missing, or an interpolation leads nowhere.
    """
    check_nothing_missing(config)
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise missing_value(str(error.full_key)) from error
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def check_nothing_missing(config: DictConfig | ListConfig) -> None:
    """Raise a UserError where a value outside `hydra` is missing (`???`)."""
    own = without_hydra(config) if isinstance(config, DictConfig) and "hydra" in config else config
    missing = list(_missing(OmegaConf.to_container(own, resolve=False), ""))
    if missing:
        raise missing_value(*missing)


def _missing(node: object, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _missing(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _missing(child, f"{key}[{index}]")
    elif node == "???":
        yield key


def missing_value(*keys: str) -> UserError:
    """Build the error for missing mandatory values."""
    are = "is" if len(keys) == 1 else "are"
    return UserError(
        f"{', '.join(keys)} {are} missing: give {' '.join(f'{key}=...' for key in keys)} on the command line"
    )


def without_hydra(config: DictConfig) -> DictConfig:
    """Copy a config without the node `hydra`, whose folder names depend on the other nodes."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

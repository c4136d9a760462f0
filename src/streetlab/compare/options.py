"""The keys of the compare command, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig
from pydantic import BeforeValidator

from streetlab.config.options import CLOSED, Flag, PositiveInt, PositiveNumber, Says, command_options
from streetlab.errors import UserError

_Name = Annotated[
    Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)] | None,
    Says("a name, or null"),
]


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """Options of a comparison; the defaults are those of conf/compare.yaml, which explains each."""

    objective: _Name = None
    baseline: _Name = None
    delta: Annotated[PositiveNumber, Says("a number above 0, such as 0.02")] = 0.02
    different_splits: Flag = False
    most_tested: PositiveInt = 20


DEFAULTS = Options()


def run_paths(config: Mapping[str, Any]) -> list[Path]:
    """The key `runs` as paths.

    Raises:
        UserError: it is empty or neither a path nor a list of paths.
    """
    value = config.get("runs")
    listed: list[Any] = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) and item for item in listed):
        raise UserError(f"runs: found {value!r}; allowed is a folder or a list of folders, runs=DIR or runs=[A,B]")
    return [Path(item).expanduser() for item in listed]


def options_of(config: DictConfig | Mapping[str, Any]) -> Options:
    """The other keys; one that is missing has its default.

    Raises:
        UserError: a value of another kind than the key takes.
    """
    return command_options(Options, config)

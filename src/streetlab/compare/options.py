"""The keys of the compare command, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streetlab.errors import UserError


@dataclass(frozen=True)
class Options:
    """Options of a comparison; the defaults are those of conf/compare.yaml, which explains each."""

    objective: str | None = None
    baseline: str | None = None
    delta: float = 0.02
    different_splits: bool = False
    most_tested: int = 20


DEFAULTS = Options()


def run_paths(config: Any) -> list[Path]:
    """The key `runs` as paths.

    Raises:
        UserError: it is empty or neither a path nor a list of paths.
    """
    value = config.get("runs")
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) and item for item in listed):
        raise UserError(f"runs: found {value!r}; allowed is a folder or a list of folders, runs=DIR or runs=[A,B]")
    return [Path(item).expanduser() for item in listed]


def options_of(config: Any) -> Options:
    """The other keys; one that is missing has its default.

    Raises:
        UserError: a value of another kind than the key takes.
    """
    given = {key: config.get(key, getattr(DEFAULTS, key)) for key in Options.__dataclass_fields__}
    for key in ("objective", "baseline"):
        if isinstance(given[key], bool | list | dict):
            raise UserError(f"{key}: found {given[key]!r}; allowed is a name, or null")
        given[key] = None if given[key] is None else str(given[key])
    if not _is_number(given["delta"]) or not 0 < given["delta"] < float("inf"):
        raise UserError(f"delta: found {given['delta']!r}; allowed is a number above 0, such as 0.02")
    if not isinstance(given["different_splits"], bool):
        raise UserError(f"different_splits: found {given['different_splits']!r}; allowed is true or false")
    if not isinstance(given["most_tested"], int) or not _is_number(given["most_tested"]) or given["most_tested"] < 1:
        raise UserError(f"most_tested: found {given['most_tested']!r}; allowed is a whole number from 1 on")
    return Options(**given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

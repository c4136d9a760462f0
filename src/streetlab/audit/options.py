"""Read and check the keys of the audit command."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streetlab.datasets.scan import SPLITS
from streetlab.errors import UserError, did_you_mean

POLICIES = ("drop", "majority", "keep")


@dataclass(frozen=True)
class Thresholds:
    """Limits from which a measure is a finding; conf/audit.yaml documents each. None: not checked."""

    blurry: float | None = 0.1
    dark: float | None = 0.15
    over_exposed: float | None = 0.35
    odd_size: float | None = 2.5
    imbalance: float | None = 1.5


@dataclass(frozen=True)
class Options:
    """Options of an audit; the defaults are those of conf/audit.yaml, which documents them."""

    most: int = 50
    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=lambda: dict(zip(SPLITS, (0.70, 0.15, 0.15), strict=True)))
    folds: int | None = 5
    conflicts: str = "drop"
    thresholds: Thresholds = Thresholds()


def options_of(config: Mapping[str, Any]) -> Options:
    """Read the command's own keys; a missing one has its default.

    Raises:
        UserError: a value that the key does not take.
    """
    given = {key: config.get(key, default) for key, default in asdict(Options()).items()}
    if given["conflicts"] not in POLICIES:
        near = did_you_mean(str(given["conflicts"]), POLICIES)
        raise UserError(f"conflicts: '{given['conflicts']}' is not one of {', '.join(POLICIES)}{near}")
    return Options(
        most=_whole("most", given["most"], 2),
        seed=_whole("seed", given["seed"], 0),
        shares=_shares(given["shares"]),
        folds=None if given["folds"] is None else _whole("folds", given["folds"], 3, ", or null for none"),
        conflicts=given["conflicts"],
        thresholds=_thresholds(given["thresholds"]),
    )


def _whole(key: str, value: Any, least: int, otherwise: str = "") -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{key}: found {value!r}; allowed is a whole number from {least} on{otherwise}")
    return value


def _shares(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):  # the default
        value = list(value.values())
    if not isinstance(value, list) or len(value) != len(SPLITS) or not all(_is_positive(share) for share in value):
        raise UserError(f"shares: found {value!r}; allowed are three numbers above 0, of {', '.join(SPLITS)}")
    if not math.isclose(sum(value), 1, abs_tol=1e-6):
        raise UserError(f"shares: {value} sum to {sum(value):g}; the shares of {', '.join(SPLITS)} sum to 1")
    return dict(zip(SPLITS, map(float, value), strict=True))


def _thresholds(value: Mapping[str, Any]) -> Thresholds:
    for key, number in value.items():
        if number is not None and not _is_positive(number):
            raise UserError(f"thresholds.{key}: found {number!r}; allowed is a number above 0, or null")
    for key in ("odd_size", "imbalance"):
        if value.get(key) is not None and value[key] <= 1:
            raise UserError(f"thresholds.{key}: found {value[key]!r}; it is a factor above 1, or null")
    return Thresholds(**value)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")

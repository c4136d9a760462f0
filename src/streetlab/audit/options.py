"""Read and check the keys of the audit command."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig
from pydantic import BeforeValidator, Field

from streetlab.config.options import (
    CLOSED,
    NaturalNumber,
    Number,
    OneOf,
    PositiveNumber,
    Says,
    WholeNumber,
    command_options,
)  # fmt: skip
from streetlab.datasets.scan import SPLITS
from streetlab.errors import UserError

POLICIES = ("drop", "majority", "keep")

_Factor = Annotated[Annotated[Number, Field(gt=1)] | None, Says("a factor above 1, or null")]


def _by_split(value: Any) -> Any:
    """A list of shares as a mapping from splits to them."""
    return dict(zip(SPLITS, value, strict=True)) if isinstance(value, list) else value  # another length: ValueError


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Thresholds:
    """Limits from which a measure is a finding; conf/audit.yaml documents each. None: not checked."""

    blurry: PositiveNumber | None = 0.1
    dark: PositiveNumber | None = 0.15
    over_exposed: PositiveNumber | None = 0.35
    odd_size: _Factor = 2.5
    imbalance: _Factor = 1.5


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """Options of an audit; the defaults are those of conf/audit.yaml, which documents them."""

    most: Annotated[WholeNumber, Field(ge=2)] = 50
    seed: NaturalNumber = 0
    shares: Annotated[
        dict[str, PositiveNumber], BeforeValidator(_by_split), Says(f"three numbers above 0, of {', '.join(SPLITS)}")
    ] = Field(default_factory=lambda: dict(zip(SPLITS, (0.70, 0.15, 0.15), strict=True)))
    folds: Annotated[WholeNumber, Field(ge=3)] | None = 5
    conflicts: Annotated[str, OneOf(POLICIES)] = "drop"
    thresholds: Thresholds = Thresholds()

    def __post_init__(self) -> None:
        total = sum(self.shares.values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            shares = [*self.shares.values()]
            raise UserError(f"shares: {shares} sum to {total:g}; the shares of {', '.join(SPLITS)} sum to 1")


def options_of(config: DictConfig | Mapping[str, Any]) -> Options:
    """Read the command's own keys; a missing one has its default.

    Raises:
        UserError: a value that the key does not take.
    """
    return command_options(Options, config)

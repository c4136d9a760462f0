"""Parse a search space: Hydra's sweep syntax, read as Optuna's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Transformer

from streetlab.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Parameter:
    """The values of one key: any of `choices`, or a number from `low` to `high`, both included.

    Two parameters of the same text may follow each other in one search: Optuna learns across bounds, not across
    kinds or choices.
    """

    choices: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """True if only whole numbers are drawn."""
        return isinstance(self.low, int)

    @property
    def examples(self) -> tuple[Value, ...]:
        """Values that represent all: a config that accepts them accepts the others."""
        return self.choices or (self.low,)

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} in steps" if self.step and not self.whole else f"{kind}{' on a log scale' * self.log}"

    def draw(self, key: str, trial: Trial) -> Value:
        """Draw a value of `key` from the trial, or take the one that waits for it."""
        if self.choices:
            return trial.suggest_categorical(key, list(self.choices))
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1))
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)


def words(values: Mapping[str, Value]) -> list[str]:
    """The overrides that give these values to a job."""
    return [f"{key}={value}" for key, value in values.items()]


def read_parameter(override: Override) -> Parameter:
    """The parameter that a sweep word stands for: a comma list, choice(), glob(), range() or interval().

    Raises:
        UserError: nothing can be drawn from it.
    """
    swept = override.value()
    if isinstance(swept, IntervalSweep):
        low, high, log = float(swept.start or 0), float(swept.end or 0), "log" in swept.tags
        if low > high or (log and low <= 0):
            above_zero = " above 0" if log else ""
            raise UserError(f"{override.input_line}: the bounds are low, then high{above_zero}")
        return Parameter(low=low, high=high, log=log)
    values: tuple[Any, ...] = tuple(override.sweep_iterator(transformer=Transformer.encode))
    if not values:
        raise UserError(f"{override.input_line}: it holds no value")
    if isinstance(swept, RangeSweep):
        low, high = min(values), max(values)  # range() leaves its end out
        return Parameter(low=low, high=high, step=abs(swept.step or 1))
    shuffled = isinstance(swept, ChoiceSweep) and swept.shuffle
    return Parameter(choices=tuple(sorted(values, key=str)) if shuffled else values)  # in one order in every call

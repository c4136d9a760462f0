"""Weights of classes in a loss that follow from how many training photos each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streetlab.errors import UserError, did_you_mean

_BETA = 0.999
_NAMES = ("balanced", "effective")


@dataclass(frozen=True)
class WeightRule:
    """A rule by which class weights follow from photo counts.

    - `balanced`: N / (K · n) for a class of n photos out of N of K classes, as scikit-learn's; all classes count alike.
    - `effective`: proportional to (1 - beta) / (1 - beta^n), with mean 1 (Cui et al. 2019): a further photo of a class
      counts the less the more there are. 0 is no weighting, towards 1 it becomes `balanced`.

    Attributes:
        name: one of the two.
        beta: of `effective`, from 0 to below 1.
    """

    name: str
    beta: float = _BETA

    def weights(self, counts: Sequence[int]) -> list[float]:
        """Weights of classes with that many photos each, at least one."""
        if self.name == "balanced":
            return [sum(counts) / (len(counts) * count) for count in counts]
        raw = [(1 - self.beta) / (1 - self.beta**count) for count in counts]
        return [weight * len(raw) / sum(raw) for weight in raw]


def weight_rule(value: object) -> WeightRule | None:
    """Read `balanced`, `effective` or `{effective: beta}`; None where the value is none of these.

    Raises:
        UserError: text that names no rule, a beta out of range.
    """
    if isinstance(value, str):
        if value not in _NAMES:
            near = did_you_mean(value, _NAMES)
            raise UserError(f"loss.class_weights: '{value}' is not null, {', '.join(_NAMES)} or a list{near}")
        return WeightRule(value)
    if not isinstance(value, Mapping):
        return None
    beta = value.get("effective")
    if len(value) != 1 or isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < 1:
        raise UserError(f"loss.class_weights: {dict(value)} is not {{effective: beta}} with a beta from 0 to below 1")
    return WeightRule("effective", float(beta))

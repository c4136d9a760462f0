"""Scales on which cities report: grades along severity, and which of them are acceptable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from streetlab.config.options import CLOSED, Number, Says, checked
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import fold

_Severities = Annotated[
    dict[str, Annotated[Number, Field(ge=0, le=100)]], Says("names with a severity from 0 to 100 each: {A: 0, B: 50}")
]


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class _Keys:
    """The keys of a file in conf/scale; severity.yaml there says what each is for."""

    name: str
    title: str
    source: str
    note: str
    classes: _Severities
    grades: _Severities
    acceptable: str
    unacceptable: str
    index: str | None = None


@dataclass(frozen=True)
class Scale:
    """Grades along severity, which runs from 0 (clean) to 100.

    Args:
        name: as `scale=` names it.
        title: what reports call the scale.
        source: who publishes it, by name, title and year.
        note: how far its mapping from severity can be trusted.
        classes: severity of each class of a run.
        grades: names, from the cleanest.
        severities: severity of each grade, rising.
        acceptable: how many of the grades are acceptable, counted from the cleanest.
        unacceptable: the name of the share of photos that is not.
        index: the name of 100 - severity, where reports use that; None where they do not.
    """

    name: str
    title: str
    source: str
    note: str
    classes: Mapping[str, float]
    grades: tuple[str, ...]
    severities: tuple[float, ...]
    acceptable: int
    unacceptable: str
    index: str | None = None

    @property
    def limits(self) -> NDArray[np.float64]:
        """(G - 1,) severities half way between two grades; one at a limit has the cleaner grade."""
        severities = np.array(self.severities)
        limits: NDArray[np.float64] = (severities[1:] + severities[:-1]) / 2
        return limits

    def positions(self, severity: ArrayLike) -> NDArray[np.int64]:
        """Position of the grade of each severity, 0 for the cleanest; -1 for NaN."""
        values = np.asarray(severity, dtype=float)
        positions = np.searchsorted(np.round(self.limits, 6), np.round(values, 6), side="left")
        return np.where(np.isnan(values), -1, positions)

    def class_severities(self, classes: Sequence[str]) -> NDArray[np.float64]:
        """(K,) severity of each class, whose name counts in any case of letters.

        Raises:
            UserError: a class that the scale has no severity for.
        """
        known = {fold(name): severity for name, severity in self.classes.items()}
        for name in classes:
            if fold(name) not in known:
                raise UserError(
                    f"scale.classes: no severity for the run's class '{name}'{did_you_mean(name, self.classes)} "
                    f"(there are: {', '.join(self.classes)}); add it: +scale.classes.{name}=50"
                )
        return np.array([known[fold(name)] for name in classes])

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, as survey.json holds it."""
        limits = [None, *self.limits.tolist(), None]
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "note": self.note,
            "classes": dict(self.classes),
            "grades": [
                {
                    "grade": grade,
                    "severity": severity,
                    "above": limits[i],
                    "up_to": limits[i + 1],
                    "acceptable": i < self.acceptable,
                }
                for i, (grade, severity) in enumerate(zip(self.grades, self.severities, strict=True))
            ],
            "unacceptable": self.unacceptable,
            "index": self.index,
        }


def read_scale(values: Any) -> Scale:
    """The scale that the config's key `scale` holds.

    Raises:
        UserError: a key that is missing, unknown or of another kind, grades that do not rise, or no such grade.
    """
    keys = checked(_Keys, values, "scale")
    if len(keys.grades) < 2 or not keys.classes:
        raise UserError("scale.grades, scale.classes: a scale has at least two grades and one class")
    severities = [*keys.grades.values()]
    if any(after <= before for before, after in pairwise(severities)):
        raise UserError(f"scale.grades: severities {severities} do not rise; grades stand from the cleanest on")
    grades = tuple(keys.grades)
    if keys.acceptable not in grades:
        raise UserError(
            f"scale.acceptable: '{keys.acceptable}' is not one of {', '.join(grades)}"
            f"{did_you_mean(keys.acceptable, grades)}"
        )
    return Scale(
        name=keys.name,
        title=keys.title,
        source=keys.source,
        note=keys.note,
        classes=keys.classes,
        grades=grades,
        severities=tuple(severities),
        acceptable=grades.index(keys.acceptable) + 1,
        unacceptable=keys.unacceptable,
        index=keys.index,
    )


def scale_option(value: Any) -> Scale:
    """A command's option `scale`: as the config holds it, or read already."""
    return value if isinstance(value, Scale) else read_scale(value)

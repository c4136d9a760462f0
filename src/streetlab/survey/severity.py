"""Severity of a photo, 0 (clean) to 100: what its class probabilities expect on a scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

from streetlab.survey.photos import PROBABILITY
from streetlab.survey.scales import Scale


def classes_of(photos: pd.DataFrame) -> tuple[str, ...]:
    """The classes that the photos have probabilities of, in their order."""
    return tuple(name.removeprefix(PROBABILITY) for name in photos.columns if name.startswith(PROBABILITY))


def add_severity(photos: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Give each photo its expected severity, its grade on the scale, and whether that is acceptable.

    Args:
        photos: with `p_<class>` for each class, NaN where a photo has no prediction.

    Returns:
        The photos with `severity` (NaN), `grade` (empty) and `acceptable` (missing where there is no prediction).

    Raises:
        UserError: a class that the scale has no severity for.
    """
    classes = classes_of(photos)
    known = scale.class_severities(classes)
    probabilities = photos[[PROBABILITY + name for name in classes]].to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        severity = probabilities @ known / probabilities.sum(axis=1) if classes else np.full(len(photos), np.nan)
    positions = scale.positions(severity)
    grades = np.array([*scale.grades, ""], dtype=object)[positions]
    acceptable = pd.array(positions < scale.acceptable, dtype="boolean")
    acceptable[positions < 0] = pd.NA
    return photos.assign(severity=severity, grade=grades, acceptable=acceptable)

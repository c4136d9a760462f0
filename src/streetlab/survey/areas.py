"""Areas that a survey reports on, and the photos and segments in each: the whole, districts, strata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from streetlab.errors import UserError
from streetlab.metrics.statistics.survey_sampling import Design, sampling_design
from streetlab.survey.photos import PROBABILITY
from streetlab.survey.scales import Scale
from streetlab.survey.severity import classes_of

Floats = NDArray[np.float64]
Level = Literal["all", "district", "stratum"]
Weights = Literal["equal", "length"]


@dataclass(frozen=True, eq=False)
class Area:
    """Photos with predictions of an area, and the n segments that they lie in.

    Args:
        total: segments of the area, with photos or without.
        design: of the n segments.
        segment: (N,) segment of each photo, 0..n-1; each has one or more.
        values: (N,) each measure by the model, by name.
        graded: (G,) positions of the graded photos.
        human: (G,) each measure by people.
        probabilities: (N, K) of each class.
        predictions: (N,) position of the predicted class.
        classes: K names.
    """

    name: str
    level: Level
    total: int
    design: Design
    segment: NDArray[np.int64]
    values: Mapping[str, Floats]
    graded: NDArray[np.int64]
    human: Mapping[str, Floats]
    probabilities: Floats
    predictions: NDArray[np.int64]
    classes: tuple[str, ...]


def areas(
    photos: pd.DataFrame,
    segments: pd.DataFrame,
    grades: pd.DataFrame | None,
    scale: Scale,
    weights: Weights,
    population: bool,
) -> Iterator[Area]:
    """The whole, then each district, then each stratum where there are several; those without photos as well.

    Args: as of `estimates.estimate`, with the photos that have a prediction and a segment.
    """
    classes = classes_of(photos)
    probabilities = photos[[PROBABILITY + name for name in classes]].to_numpy(np.float64)
    predictions = photos["prediction"].map({name: i for i, name in enumerate(classes)}).to_numpy(np.int64)
    values = measures(photos["severity"].to_numpy(np.float64), scale)
    given = {} if grades is None else dict(zip(grades["file"], grades["severity"], strict=True))
    human = measures(photos["file"].map(given).to_numpy(np.float64), scale)
    position = {name: i for i, name in enumerate(segments["segment"])}
    of_photo = photos["segment"].map(position).to_numpy(np.int64)
    seen = np.zeros(len(segments), dtype=bool)
    seen[of_photo] = True
    for name, level, inside in named_areas(segments):
        chosen = np.flatnonzero(inside & seen)
        number = np.full(len(segments), -1)
        number[chosen] = np.arange(len(chosen))
        here = np.flatnonzero(inside[of_photo])
        graded = np.flatnonzero(~np.isnan(human["severity"][here]))
        yield Area(
            name=name,
            level=level,
            total=int(inside.sum()),
            design=segment_design(segments, inside, chosen, weights, population),
            segment=number[of_photo[here]],
            values={key: value[here] for key, value in values.items()},
            graded=graded,
            human={key: value[here][graded] for key, value in human.items()},
            probabilities=probabilities[here],
            predictions=predictions[here],
            classes=classes,
        )


def named_areas(segments: pd.DataFrame) -> Iterator[tuple[str, Level, NDArray[np.bool_]]]:
    """Name, level and (n,) segments inside of each area: the whole, districts, and strata where there are several."""
    yield "all", "all", np.ones(len(segments), dtype=bool)
    for name in sorted(set(segments["district"]) - {""}):
        yield name, "district", (segments["district"] == name).to_numpy()
    strata = sorted(set(segments["stratum"]))
    for name in strata if len(strata) > 1 else []:
        if name:
            yield name, "stratum", (segments["stratum"] == name).to_numpy()


def segment_design(
    segments: pd.DataFrame,
    inside: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    weights: Weights,
    population: bool,
) -> Design:
    """Design of the chosen segments as a stratified random sample of those inside an area.

    Strata without a chosen segment are left out.

    Raises:
        UserError: weights by length of segments that have none.
    """
    if not len(chosen):
        return Design(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0))
    strata = segments["stratum"].to_numpy(dtype=str)
    names, stratum = np.unique(strata[chosen], return_inverse=True)
    total = [int((strata[inside] == name).sum()) for name in names] if population else None
    lengths = None
    if weights == "length":
        lengths = segments["length_m"].to_numpy(np.float64)[chosen]
        if not (lengths > 0).all():
            raise UserError("weights: 'length' needs segments with a length, of streets= or stretch=; cells have none")
    return sampling_design(len(chosen), lengths, stratum, total)


def measures(severity: ArrayLike, scale: Scale) -> dict[str, Floats]:
    """(N,) measures of photos of a known severity, by name; NaN where that is NaN."""
    values = np.asarray(severity, dtype=float)
    positions = scale.positions(values)
    known = np.where(positions < 0, np.nan, 1.0)
    return {
        "severity": values,
        "acceptable": known * (positions < scale.acceptable),
        **{f"share:{grade}": known * (positions == i) for i, grade in enumerate(scale.grades)},
    }

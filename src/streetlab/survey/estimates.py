"""Estimates of a survey, of the whole, of districts and strata: each with an interval and what it assumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from streetlab.metrics.statistics.intervals import Estimate, wilson_interval
from streetlab.metrics.statistics.misclassification import CorrectedShares, rogan_gladen, shifted_priors
from streetlab.metrics.statistics.prediction_powered import prediction_powered_mean, sum_up_grades
from streetlab.metrics.statistics.survey_sampling import segment_means, spread_within, survey_mean, survey_means
from streetlab.survey.areas import Area, Level, Weights, areas, measures
from streetlab.survey.scales import Scale
from streetlab.survey.segment_estimates import add_segment_estimates

ENOUGH_GRADED = 10
"""Graded segments from which on intervals of simulated cities held the truth often enough: experiments/survey."""
ONLY_AS_GOOD = "only as good as the model is here"

_ASSUMES = {
    "plug_in": f"{ONLY_AS_GOOD}: the model is right on average on these photos",
    "rogan_gladen": f"{ONLY_AS_GOOD}: within each class it errs on these photos as often as on its test photos",
    "em": f"{ONLY_AS_GOOD}: its probabilities hold here but for other shares of the classes",
    "human": "the graded photos are a random sample of the survey's; the model is not used",
    "ppi": "the graded photos are a random sample of the survey's; holds whatever the model's errors are",
}
_CONVENIENCE = "the graded photos are no random sample and say nothing of others: a mean without an interval"


@dataclass(frozen=True)
class AreaEstimate:
    """One row of survey.json's estimates.

    Args:
        area: "all", or the name of a district or stratum.
        measure: "severity" (0 to 100), "acceptable" or "share:<grade>" (0 to 1): means over segments.
        estimator: "plug_in", "rogan_gladen", "em", "human" or "ppi".
        low, high: ends of the 95% interval; None where there is none.
        assumes: what has to be true for the interval to hold.
    """

    area: str
    level: Level
    measure: str
    estimator: str
    n_segments: int
    n_photos: int
    n_graded: int
    value: float
    low: float | None
    high: float | None
    assumes: str


@dataclass(frozen=True, eq=False)
class Estimates:
    """The estimates of a survey.

    Args:
        segments: the segments with their numbers; the columns of segments.csv.
        areas: one row for the whole, each district and each stratum: `district` (its name), `level`,
            `segments_total`, `segments_seen`, `photos`, `severity`, `low`, `high`, `estimator`.
        rows: all estimates.
        assumptions: sentences that hold for all of them.
        uncorrected: sentences on why the whole has no estimate that is corrected by the run's test part, where it
            has none.
    """

    segments: gpd.GeoDataFrame
    areas: pd.DataFrame
    rows: tuple[AreaEstimate, ...]
    assumptions: tuple[str, ...]
    uncorrected: tuple[str, ...] = ()

    @property
    def districts(self) -> pd.DataFrame:
        """The rows of districts, by name."""
        return self.areas[self.areas["level"] == "district"].drop(columns="level")

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as survey.json holds them."""
        return [asdict(row) for row in self.rows]


def estimate(
    photos: pd.DataFrame,
    segments: gpd.GeoDataFrame,
    grades: pd.DataFrame | None = None,
    *,
    scale: Scale,
    confusion: ArrayLike | None = None,
    no_confusion: str = "no test part tells how often the model errs",
    weights: Weights = "equal",
    population: bool = False,
    grades_sample: str = "random",
) -> Estimates:
    """Estimate every measure of every area in each way that the data allow.

    Args:
        photos: with `file`, `segment`, `prediction`, `p_<class>` and what `add_severity` adds.
        segments: with `segment`, `length_m`, `district`, `stratum` and geometry.
        grades: of `read_grades`.
        confusion: (K, K) counts of the run's test part, classes as those of the probabilities; the row is the truth.
        no_confusion: why there is none, where there is none.
        weights: whether a segment counts once or by its length.
        population: the segments are all there are, with photos or without.
        grades_sample: one of `options.GRADES_SAMPLES`.
    """
    usable = photos[photos["severity"].notna() & photos["segment"].isin(segments["segment"])]
    table = add_segment_estimates(segments, usable, scale)
    rows: list[AreaEstimate] = []
    headlines = []
    uncorrected: tuple[str, ...] = ()
    for area in areas(usable, table, grades, scale, weights, population):
        corrected, reasons = _corrected(area, scale, confusion, no_confusion)
        of_area = [*_by_model(area), *corrected, *_by_people(area, grades_sample)]
        headlines.append(_headline(area, of_area))
        rows += of_area
        if area.level == "all":
            uncorrected = tuple(f"No estimates {names}: {reason}." for names, reason in reasons.items())
    sentences = _assumptions(table, scale, weights, population, grades is not None)
    return Estimates(table, pd.DataFrame(headlines), tuple(rows), sentences, uncorrected)


def estimate_sentence(row: Mapping[str, Any]) -> str:
    """One row of severity in words: `severity 31.2 [28.0, 34.4] (ppi): the graded photos are ...`."""
    interval = "no interval" if row["low"] is None else f"{row['low']:.1f}, {row['high']:.1f}"
    return f"severity {row['value']:.1f} [{interval}] ({row['estimator']}): {row['assumes']}"


def _by_model(area: Area) -> Iterator[AreaEstimate]:
    """Means of what the model says."""
    n, photos = len(area.design), np.bincount(area.segment)
    for measure, values in area.values.items() if n else ():
        spread = spread_within(values[:, None], area.segment)
        design = area.design.without_fraction() if spread is None else area.design
        means = segment_means(values[:, None], area.segment)[:, 0]
        mean = survey_mean(means, design, photos, None if spread is None else float(spread[0, 0]))
        yield _row(area, measure, "plug_in", mean.value, _interval(mean, n, measure))


def _corrected(
    area: Area, scale: Scale, confusion: ArrayLike | None, no_confusion: str
) -> tuple[list[AreaEstimate], dict[str, str]]:
    """Means from class shares that are corrected by the test part, each class at its severity on the scale.

    Returns:
        The rows, and by the names of the estimators that are missing the reason why.
    """
    both, n = " and ".join(_CORRECTIONS), len(area.design)
    if confusion is None:
        return [], {both: no_confusion}
    if n < 2:
        return [], {both: "fewer than two segments have photos"}
    counts = np.asarray(confusion, dtype=float)
    by_class = measures(scale.class_severities(area.classes), scale)
    rows: list[AreaEstimate] = []
    reasons: dict[str, str] = {}
    for estimator, correct in _CORRECTIONS.items():
        try:
            corrected = correct(area, counts)
        except ValueError as error:
            reasons[estimator] = f"the run's test part says too little: {error}"
            continue
        for measure, values in by_class.items():
            value, low, high = corrected.mean(values)
            rows.append(_row(area, measure, estimator, value, (low, high)))
    return rows, reasons


def _rogan_gladen(area: Area, confusion: NDArray[np.float64]) -> CorrectedShares:
    indicators = np.eye(len(area.classes))[area.predictions]
    spread = spread_within(indicators, area.segment)
    design = area.design.without_fraction() if spread is None else area.design
    observed = segment_means(indicators, area.segment)
    shares, covariance = survey_means(observed, design, np.bincount(area.segment), spread)
    return rogan_gladen(shares, covariance, max(1, design.df), confusion)


def _shifted(area: Area, confusion: NDArray[np.float64]) -> CorrectedShares:
    prior = confusion.sum(axis=1) / confusion.sum()
    weights = (area.design.shares / np.bincount(area.segment))[area.segment]
    return shifted_priors(area.probabilities, prior, area.segment, weights, area.design)


_CORRECTIONS: Mapping[str, Callable[[Area, NDArray[np.float64]], CorrectedShares]] = {
    "rogan_gladen": _rogan_gladen,
    "em": _shifted,
}


def _by_people(area: Area, sample: str) -> Iterator[AreaEstimate]:
    """Means of what people say of the graded photos, alone and together with the model's predictions of all."""
    if not len(area.graded):
        return
    segment = area.segment[area.graded]
    graded_segments = len(np.unique(segment))
    weights = area.design.weights
    if sample == "random":
        weights = weights * np.bincount(segment, minlength=len(weights)) / np.bincount(area.segment)
    few = f"; {graded_segments} graded segments are fewer than {ENOUGH_GRADED}: too narrow, maybe"
    note = few if graded_segments < ENOUGH_GRADED else ""
    for measure, human in area.human.items():
        model = area.values[measure]
        graded = sum_up_grades(segment, human, model[area.graded], weights)
        if sample == "convenience":
            mean = float(graded.weights @ graded.grade / graded.weights.sum())
            yield _row(area, measure, "human", mean, (None, None), _CONVENIENCE)
        elif graded_segments > 1:
            means = segment_means(model[:, None], area.segment)[:, 0]
            for estimator, tuning in (("human", 0.0), ("ppi", None)):
                mean_of_all = prediction_powered_mean(means, graded, area.design, tuning)
                interval = _interval(mean_of_all, graded_segments, measure)
                yield _row(area, measure, estimator, mean_of_all.value, interval, _ASSUMES[estimator] + note)


def _interval(mean: Estimate, n: int, measure: str) -> tuple[float | None, float | None]:
    """95% interval within the measure's range; None where it is not known.

    Where all segments say the same, no variance is seen: then as wide as Wilson's for a share of 0 in n segments.
    """
    most = _most(measure)
    if mean.standard_error <= most * 1e-9:
        half = most * wilson_interval(0, n)[1]
        low, high = mean.value - half, mean.value + half
    else:
        low, high = mean.interval()
    if np.isnan(low):
        return None, None
    return float(np.clip(low, 0, most)), float(np.clip(high, 0, most))


def _row(
    area: Area,
    measure: str,
    estimator: str,
    value: float,
    interval: Sequence[float | None],
    assumes: str | None = None,
) -> AreaEstimate:
    low, high = interval
    return AreaEstimate(
        area=area.name,
        level=area.level,
        measure=measure,
        estimator=estimator,
        n_segments=len(area.design),
        n_photos=len(area.segment),
        n_graded=len(area.graded),
        value=float(np.clip(value, 0, _most(measure))),
        low=low,
        high=high,
        assumes=assumes or _ASSUMES[estimator],
    )


def _most(measure: str) -> float:
    return 100.0 if measure == "severity" else 1.0


def _headline(area: Area, rows: Sequence[AreaEstimate]) -> dict[str, Any]:
    """The estimate of an area's severity that reports show first: with grades of enough segments the one they allow."""
    graded = len(np.unique(area.segment[area.graded]))
    wanted = "ppi" if graded >= ENOUGH_GRADED else "plug_in"
    severity = {row.estimator: row for row in rows if row.measure == "severity"}
    shown = severity.get(wanted) or severity.get("plug_in")
    return {
        "district": area.name,
        "level": area.level,
        "segments_total": area.total,
        "segments_seen": len(area.design),
        "photos": len(area.segment),
        "severity": shown.value if shown else np.nan,
        "low": np.nan if shown is None or shown.low is None else shown.low,
        "high": np.nan if shown is None or shown.high is None else shown.high,
        "estimator": shown.estimator if shown else "",
    }


def _assumptions(
    segments: gpd.GeoDataFrame, scale: Scale, weights: Weights, population: bool, graded: bool
) -> tuple[str, ...]:
    seen = int((segments["photos"] > 0).sum())
    if not population:
        drawn = "The segments with photos are a random sample of those that the estimates are of, far more than these."
    elif seen < len(segments):
        drawn = f"The {seen} segments with photos are a random sample of all {len(segments)}, in each stratum."
    else:
        drawn = f"All {seen} segments have photos; the intervals tell of few photos per segment alone."
    return (
        drawn,
        "Photos of one segment are one piece of evidence; each shows its segment as any other photo of it would.",
        "Each segment counts once." if weights == "equal" else "Each segment counts by its length.",
        "Shares and `acceptable` are of the photos of a segment, and their mean over segments.",
        f"Scale {scale.title}: {scale.note}. Source: {scale.source}.",
        "Intervals hold for one area at a time; of twenty areas, one is expected to lie outside its 95% interval.",
        *([] if graded else [f"Without grades= every estimate is {ONLY_AS_GOOD}."]),
    )

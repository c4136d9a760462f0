"""Change since an earlier survey: the same segments, before and now."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import as_text
from streetlab.metrics.statistics.differences import Difference
from streetlab.metrics.statistics.significance import holm
from streetlab.metrics.statistics.survey_sampling import Design, survey_mean
from streetlab.survey.areas import Level, Weights, named_areas, segment_design
from streetlab.survey.csv_files import number_in, read_csv
from streetlab.survey.scales import Scale
from streetlab.survey.segment_estimates import photo_variance

Floats = NDArray[np.float64]

_ASSUMES = "the model errs now as it did then: whatever changed between the two surveys but the dirt did not change it"


@dataclass(frozen=True)
class TrendRow:
    """One row of survey.json's trend: change of an area's mean severity, in points; below 0 it is cleaner.

    Args:
        n_segments: segments with photos in both surveys.
        low, high: ends of the 95% interval; None where two segments or more are missing.
        p: two-sided.
        p_adjusted: by Holm over the areas of its level.
        smallest: the smallest true change that such data show in 80% of cases.
        verdict: better, worse, equivalent within `delta`, or not enough data.
    """

    area: str
    level: Level
    n_segments: int
    change: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    smallest: float | None
    delta: float
    verdict: str
    assumes: str = _ASSUMES


@dataclass(frozen=True, eq=False)
class Trend:
    """Change since an earlier survey.

    Args:
        segments: the table with `change`, `change_low`, `change_high`, `change_p`; NaN where a segment has no photos
            in one of the two.
        rows: of the whole, each district and each stratum that has such a segment.
    """

    segments: gpd.GeoDataFrame
    rows: tuple[TrendRow, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as survey.json holds them."""
        return [asdict(row) for row in self.rows]


def read_baseline(folder: Path, scale: Scale) -> pd.DataFrame:
    """Read the photos of an earlier survey: `segment` and `severity` of those that have both.

    Raises:
        UserError: no survey there, or one on another scale.
    """
    path = folder / "survey.json"
    try:
        survey = json.loads(path.read_text(encoding="utf-8"))
        before = survey["scale"]
        name = str(before["name"])
    except FileNotFoundError:
        raise UserError(
            f"baseline: {folder} holds no survey (survey.json is missing); give a survey's folder"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"baseline: {path} cannot be read as a survey ({error})") from None
    if before != json.loads(files.json_text(scale.to_dict())):
        other = f"scale '{name}'" if name != scale.name else f"other numbers of the scale '{name}'"
        raise UserError(
            f"baseline: {folder} is on {other}, this survey on '{scale.name}'; survey both on the same, as scale={name}"
        )
    rows = read_csv("baseline", folder / "photos.csv")
    used = [row for row in rows if row.get("segment") and row.get("severity")]
    place = f"baseline: {folder / 'photos.csv'}"
    return pd.DataFrame(
        {
            "segment": [row["segment"] for row in used],
            "severity": [number_in(place, "severity", row["severity"]) for row in used],
        }
    )


def trend(
    photos: pd.DataFrame,
    segments: gpd.GeoDataFrame,
    baseline: pd.DataFrame,
    *,
    delta: float,
    weights: Weights = "equal",
    population: bool = False,
) -> Trend:
    """Compare the segments that have photos in both surveys, each with itself.

    The interval is that of a mean of paired differences over segments (`survey_sampling`); where all segments are in
    both, of what few photos of each leave open. A segment's own change is a difference of two means of photos.

    Args:
        photos: with `segment` and `severity`.
        segments: with `segment`, `length_m`, `district`, `stratum`.
        baseline: see `read_baseline`.
        delta: changes within ± this count as none, in points of severity.
        weights, population: as of `estimate`.

    Raises:
        UserError: no segment is in both.
    """
    now = photos[photos["severity"].notna() & photos["segment"].isin(segments["segment"])]
    before = baseline.assign(segment=baseline["segment"].astype(object))
    names = segments["segment"].map(as_text)
    after_mean, after_part, after_df = _means(segments["segment"], now)
    before_mean, before_part, before_df = _means(names, before)
    change = after_mean - before_mean
    variance = after_part + before_part
    paired = np.flatnonzero(~np.isnan(change))
    if not len(paired):
        raise UserError(
            f"baseline: none of its {before['segment'].nunique()} segments has photos in this survey; "
            "survey both with the same streets=, stretches or cells"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        df = variance**2 / (after_part**2 / after_df + before_part**2 / before_df)
        half = t.ppf(0.975, df) * np.sqrt(variance)
        p = 2 * t.sf(np.abs(change) / np.sqrt(variance), df)
    geometry = segments.geometry.name
    table = segments.assign(change=change, change_low=change - half, change_high=change + half, change_p=p)
    table = table[[*(name for name in table.columns if name != geometry), geometry]]
    differences: list[tuple[str, Level, int, Difference]] = []
    seen = ~np.isnan(change)
    for name, level, inside in named_areas(segments):
        chosen = np.flatnonzero(inside & seen)
        if len(chosen):
            design = segment_design(segments, inside, chosen, weights, population)
            differences.append((name, level, len(chosen), mean_change(change[chosen], variance[chosen], design)))
    return Trend(table, tuple(_judged(differences, delta)))


def _means(names: pd.Series, photos: pd.DataFrame) -> tuple[Floats, Floats, int]:
    """Mean severity of each segment, the variance of that mean by few photos, and its degrees of freedom."""
    variance, df = photo_variance(photos)
    groups = photos.groupby("segment")["severity"]
    mean = names.map(groups.mean()).to_numpy(np.float64)
    return mean, variance / names.map(groups.size()).to_numpy(np.float64), df


def mean_change(change: Floats, variance: Floats, design: Design) -> Difference:
    """Mean of paired differences; `variance` is that of each by few photos, NaN where it is not known."""
    known = not np.isnan(variance).any() and bool((variance > 0).all())
    used = design if known else design.without_fraction()
    # the second stage takes a spread over photos: a difference counts as one photo of its own variance
    mean = survey_mean(change, used, 1 / variance if known else None, 1.0 if known else None)
    error = mean.standard_error
    if error <= 1e-9:  # as `differences`: n pairs without a difference do not prove that there is none
        error = 100 * math.sqrt(2) / (len(change) + 2)
    return Difference(mean.value, error, mean.df)


def _judged(differences: Sequence[tuple[str, Level, int, Difference]], delta: float) -> list[TrendRow]:
    p_of: dict[tuple[str, Level], float] = {}
    for wanted in ("all", "district", "stratum"):
        tested = [
            (name, level, each.p_value) for name, level, _, each in differences if level == wanted and each.df > 0
        ]
        for (name, level, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
            p_of[name, level] = float(p)
    return [_row(name, level, n, each, p_of.get((name, level)), delta) for name, level, n, each in differences]


def _row(name: str, level: Level, n: int, change: Difference, p_adjusted: float | None, delta: float) -> TrendRow:
    if p_adjusted is None:
        return TrendRow(name, level, n, change.value, None, None, None, None, None, delta, "not enough data")
    low, high = change.interval()
    return TrendRow(
        area=name,
        level=level,
        n_segments=n,
        change=change.value,
        low=low,
        high=high,
        p=change.p_value,
        p_adjusted=p_adjusted,
        smallest=change.smallest,
        delta=delta,
        verdict=change.verdict(p_adjusted, delta, higher_is_better=False),
    )


def trend_sentence(row: Mapping[str, Any]) -> str:
    """One row in words: `better: -6.1 points [-9.0, -3.2], p = 0.0004`."""
    if row["low"] is None:
        return f"not enough data: {row['n_segments']} segment in both surveys"
    numbers = f"{row['change']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"
    if row["verdict"] == "equivalent":
        return f"equivalent within {row['delta']:g}: {numbers}"
    if row["verdict"] == "not enough data":
        return f"not enough data: {numbers}; a change of {row['smallest']:.1f} would have been seen in 4 of 5 cases"
    p = "p < 0.001" if row["p_adjusted"] < 0.001 else f"p = {row['p_adjusted']:.2g}"
    return f"{row['verdict']}: {numbers}, {p}"

"""Numbers of each segment: mean severity with its interval, shares of grades."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from scipy.stats import t

from streetlab.metrics.statistics.survey_sampling import spread_within
from streetlab.survey.scales import Scale

CERTAIN_PHOTOS = 3
"""Photos from which on a segment is not marked as uncertain."""


def add_segment_estimates(segments: gpd.GeoDataFrame, photos: pd.DataFrame, scale: Scale) -> gpd.GeoDataFrame:
    """Add `photos`, `severity`, `severity_low`, `severity_high`, `share_<grade>`, `acceptable` and `uncertain`.

    The 95% interval is Student's, with the variance between photos of one segment pooled over all segments; where no
    segment has two photos, with that of all photos, which is too wide. It is of the model's severity.

    Args:
        photos: those with a severity and a segment of the table.

    Returns:
        The segments, NaN for those without a photo; the geometry is the last column.
    """
    count = segments["segment"].map(photos["segment"].value_counts()).fillna(0).astype(int)
    severity = _means(segments, photos, photos["severity"])
    variance, df = photo_variance(photos)
    half = np.full(len(segments), np.nan)
    if df > 0:
        half = t.ppf(0.975, df) * np.sqrt(variance / np.maximum(count.to_numpy(), 1))
    columns = {
        "photos": count,
        "severity": severity,
        "severity_low": (severity - half).clip(0, 100),
        "severity_high": (severity + half).clip(0, 100),
        **{f"share_{grade}": _means(segments, photos, photos["grade"] == grade) for grade in scale.grades},
        "acceptable": _means(segments, photos, photos["acceptable"]),
        "uncertain": count < CERTAIN_PHOTOS,
    }
    kept = segments.drop(columns=[name for name in columns if name in segments.columns]).assign(**columns)
    geometry = segments.geometry.name
    return kept[[*(name for name in kept.columns if name != geometry), geometry]]


def photo_variance(photos: pd.DataFrame) -> tuple[float, int]:
    """Variance of the severity between photos of one segment, with its degrees of freedom, 0 where it is not known."""
    if len(photos) < 2:
        return np.nan, 0
    numbers = pd.factorize(photos["segment"])[0]
    severity = photos["severity"].to_numpy(np.float64)
    spread = spread_within(severity[:, None], numbers)
    if spread is None:
        return float(severity.var(ddof=1)), len(photos) - 1
    return float(spread[0, 0]), len(photos) - 1 - int(numbers.max())


def _means(segments: gpd.GeoDataFrame, photos: pd.DataFrame, values: pd.Series) -> pd.Series:
    """Mean over the photos of each segment."""
    return segments["segment"].map(values.astype(float).groupby(photos["segment"]).mean()).astype(float)

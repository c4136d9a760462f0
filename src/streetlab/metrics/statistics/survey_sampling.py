"""Design-based estimates of a mean over segments, the sampling units of a survey of streets.

Photos of one segment show one street and are not independent: they are averaged first, and each segment counts once
or by its length. Nothing is assumed of how dirt is spread in space; the chance is in the drawing of segments alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.metrics.statistics.intervals import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """How n segments were drawn.

    Args:
        weights: (n,) part of the estimate that a segment stands for, above 0: its size over its chance to be drawn.
        strata: (n,) int, 0..H-1.
        fraction: (n,) share of its stratum's segments that were drawn, 0 to 1; 0 where the stratum is far larger
            than the sample, or its size is not known.
    """

    weights: Floats
    strata: NDArray[np.int64]
    fraction: Floats

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def df(self) -> int:
        """Degrees of freedom of a variance: segments minus strata."""
        return len(self) - len(np.unique(self.strata))

    @property
    def shares(self) -> Floats:
        """(n,) the weights, as shares that sum to 1."""
        return self.weights / self.weights.sum()

    def without_fraction(self) -> Design:
        """The same drawn from strata without end."""
        return replace(self, fraction=np.zeros(len(self)))


def sampling_design(
    n: int, sizes: ArrayLike | None = None, strata: ArrayLike | None = None, population: ArrayLike | None = None
) -> Design:
    """Design of a simple random sample of segments in each stratum.

    Args:
        n: segments drawn.
        sizes: (n,) what a segment counts, above 0, such as its length; None: each counts 1.
        strata: (n,) int, 0..H-1, each with a segment; None: one stratum.
        population: (H,) segments that each stratum has; None: not known, far more than were drawn, and in the
            proportions of the sample.

    Raises:
        ValueError: arrays that do not fit together, a size of 0, fewer segments in a stratum than were drawn.
    """
    size = np.ones(n) if sizes is None else np.asarray(sizes, dtype=float)
    stratum = np.zeros(n, dtype=np.int64) if strata is None else np.asarray(strata, dtype=np.int64)
    if n < 1 or size.shape != (n,) or stratum.shape != (n,) or not (size > 0).all():
        raise ValueError(f"sampling_design: {n} segments, sizes {size.shape}, all above 0, strata {stratum.shape}")
    drawn = np.bincount(stratum)
    if population is None:
        return Design(size, stratum, np.zeros(n))
    total = np.asarray(population, dtype=float)
    if total.shape != drawn.shape or (drawn == 0).any() or (total < drawn).any():
        raise ValueError(f"sampling_design: {drawn.tolist()} segments drawn from strata of {total.tolist()}")
    return Design(size * (total / drawn)[stratum], stratum, (drawn / total)[stratum])


def survey_means(
    values: ArrayLike, design: Design, photos: ArrayLike | None = None, spread: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted means of D columns of values, and their covariance.

    The ratio estimator of Hájek (1971) with linearized variance (Särndal, Swensson and Wretman 1992, Model Assisted
    Survey Sampling, 5.6-5.8): segments are the primary units, drawn without replacement within strata. A stratum of
    one segment is centred at the overall mean, which makes its part larger rather than 0.

    Where a large fraction is drawn, what is left is that a segment's mean over a few photos is not its true mean: the
    second stage of Cochran 1977, Sampling Techniques, 11.8, with photos drawn from very many possible ones.

    Args:
        values: (n, D) mean of each segment over its photos.
        photos: (n,) photos of each segment; only needed with `spread`.
        spread: (D, D) covariance between photos of one segment, see `spread_within`; None where a segment's value is
            known exactly.

    Returns:
        (D,) means, (D, D) covariance, NaN for a single segment.
    """
    y = np.asarray(values, dtype=float)
    share = design.shares
    mean = share @ y
    parts = share[:, None] * (y - mean)
    covariance = np.full((y.shape[1], y.shape[1]), np.nan)
    if len(y) < 2:
        return mean, covariance
    centred, factor = centred_within(parts, design.strata)
    covariance = (centred * (factor * (1 - design.fraction))[:, None]).T @ centred
    if spread is not None and photos is not None:
        second = (design.fraction * share**2 / np.asarray(photos, dtype=float)).sum()
        covariance = covariance + second * np.asarray(spread, dtype=float)
    return mean, covariance


def survey_mean(
    values: ArrayLike, design: Design, photos: ArrayLike | None = None, spread: float | None = None
) -> Estimate:
    """Weighted mean of one value per segment; see `survey_means`.

    Degrees of freedom are segments minus strata.

    Args:
        values: (n,).
        spread: variance between photos of one segment.
    """
    within = None if spread is None else [[spread]]
    mean, covariance = survey_means(np.asarray(values, dtype=float)[:, None], design, photos, within)
    return Estimate(float(mean[0]), float(np.sqrt(covariance[0, 0])), design.df)


def centred_within(parts: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Centre (n, D) parts of a sum within groups; with (n,) factors m/(m - 1) of a group of m.

    The sum of factor times squared centred part is the variance of the sum. The part of a group of one is left as it
    is, as a deviation from the overall mean, with the factor 1.
    """
    _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(size), parts.shape[1]))
    np.add.at(sums, group, parts)
    alone = size == 1
    means = np.where(alone[:, None], 0.0, sums / size[:, None])
    factor = np.where(alone, 1.0, size / np.maximum(size - 1, 1))
    return parts - means[group], factor[group]


def spread_within(values: ArrayLike, segments: NDArray[np.int64]) -> Floats | None:
    """(D, D) covariance between photos of one segment, pooled over segments; None where none has two photos.

    Args:
        values: (N, D) of each photo.
        segments: (N,) int segment of each photo, 0..n-1.
    """
    y = np.asarray(values, dtype=float)
    photos = np.bincount(segments)
    df = int((photos - 1)[photos > 0].sum())
    if df < 1:
        return None
    deviations = y - segment_means(y, segments)[segments]
    return deviations.T @ deviations / df


def segment_means(values: ArrayLike, segments: NDArray[np.int64]) -> Floats:
    """(n, D) means of (N, D) photos' values by segment 0..n-1; NaN for a segment without photos."""
    y = np.asarray(values, dtype=float)
    sums = np.zeros((int(segments.max()) + 1, y.shape[1]))
    np.add.at(sums, segments, y)
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(segments)[:, None]

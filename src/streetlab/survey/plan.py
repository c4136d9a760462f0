"""Plan of a survey: how many segments to visit and how many of them to grade by hand, and a random draw of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from streetlab.errors import UserError
from streetlab.metrics.statistics.survey_sampling import segment_means, spread_within

Floats = NDArray[np.float64]

FEWEST_GRADED = 10
"""Graded segments below which intervals are too narrow: experiments/survey."""
_TRIED = 200
"""Numbers of visited segments that are tried, evenly on a logarithmic scale."""


@dataclass(frozen=True, eq=False)
class Components:
    """Covariances (2, 2) of what people say of a photo and what the model says, in points of severity.

    Args:
        between: of the true means of segments.
        within: of photos of one segment.
        source: what they are from, for people.
    """

    between: Floats
    within: Floats
    source: str

    def of_means(self, photos: int) -> Floats:
        """(2, 2) covariance of a segment's means over so many photos."""
        return self.between + self.within / photos


@dataclass(frozen=True)
class Plan:
    """A plan of a survey.

    Args:
        visited: segments to take photos of.
        graded: how many of them people grade, all their photos.
        photos: photos to take of each.
        half_width: of the 95% interval of the mean severity, expected.
        people_alone: segments that would have to be visited and graded without a model; None: more than there are.
    """

    visited: int
    graded: int
    photos: int
    half_width: float
    people_alone: int | None


def components_of_pilot(segments: NDArray[np.int64], grades: ArrayLike, severity: ArrayLike, source: str) -> Components:
    """Components by an analysis of variance of a pilot's graded photos.

    Args:
        segments: (G,) segment of each graded photo.
        grades, severity: (G,) by people and by the model.

    Raises:
        UserError: fewer than ten graded segments, or none with two graded photos.
    """
    both = np.stack([np.asarray(grades, dtype=float), np.asarray(severity, dtype=float)], axis=1)
    _, position, count = np.unique(segments, return_inverse=True, return_counts=True)
    within = spread_within(both, position)
    if len(count) < FEWEST_GRADED or within is None:
        raise UserError(
            f"pilot: {source} has grades of {len(count)} segments, {int((count > 1).sum())} of them of two photos or "
            f"more; {FEWEST_GRADED} segments and some with two photos are needed, or plan with run="
        )
    means = np.cov(segment_means(both, position).T)
    return Components(_positive(means - within * float((1 / count).mean())), within, source)


def components_of_test(grades: ArrayLike, severity: ArrayLike, alike: float, source: str) -> Components:
    """Components by a run's test photos, of which a share `alike` of the variance is taken to be between segments."""
    covariance = np.cov(np.stack([np.asarray(grades, dtype=float), np.asarray(severity, dtype=float)]))
    return Components(alike * covariance, (1 - alike) * covariance, source)


def expected_half_width(
    visited: ArrayLike, graded: ArrayLike, photos: int, total: int, parts: Components, strata: int = 1
) -> Floats:
    """Half-width of the 95% interval that the prediction-powered mean will have; of people alone if all are graded.

    Two-phase sampling (Cochran 1977, Sampling Techniques, 12.2 and 12.6): what the model explains of the grades is
    known of all visited segments, the rest of the graded ones alone.

    Args:
        visited, graded: (...,) segments, graded at most visited.
        total: segments there are.
    """
    n, g = np.asarray(visited, dtype=float), np.asarray(graded, dtype=float)
    means = parts.of_means(photos)
    tuning = max(0.0, means[0, 1] / means[1, 1]) if means[1, 1] > 0 else 0.0
    explained = tuning * means[0, 1]
    left = max(0.0, means[0, 0] - explained)
    both = g < n
    df = np.maximum(g - strata - both, 1)
    of_graded = (left / g + explained * g / n**2) * np.where(both, 1 + 1 / g, 1)
    of_others = explained * (n - g) / n**2
    df_total = (of_graded + of_others) ** 2 / (of_graded**2 / df + of_others**2 / np.maximum(n - g - strata, 1))
    residual = np.array([1.0, -tuning])
    least = float(residual @ parts.within @ residual) / photos / g
    variance = np.maximum(of_graded + of_others - parts.between[0, 0] / total, least)
    half_width: Floats = t.ppf(0.975, df_total) * np.sqrt(variance)
    return half_width


def make_plan(
    half_width: float, total: int, photos: int, parts: Components, grade_cost: float = 1.0, strata: int = 1
) -> Plan:
    """The cheapest numbers of segments to visit and to grade for an interval of that half-width.

    Args:
        half_width: wanted, in points of severity.
        total: segments there are.
        photos: photos of each segment.
        grade_cost: cost of grading a segment's photos, as a multiple of that of visiting it.
        strata: strata that the segments are drawn from.

    Raises:
        UserError: not even all segments, all graded, give such an interval, or there are too few.
    """
    fewest = max(FEWEST_GRADED, 2 * strata)
    if total < fewest:
        raise UserError(f"streets: {total} segments are too few to sample; at least {fewest} are needed")
    best: tuple[float, int, int] | None = None
    for n in np.unique(np.geomspace(fewest, total, _TRIED).astype(int)).tolist():
        g = _fewest_graded(half_width, n, fewest, total, photos, parts, strata)
        if g is not None and (best is None or n + grade_cost * g < best[0]):
            best = n + grade_cost * g, n, g
    if best is None:
        reached = float(expected_half_width(total, total, photos, total, parts, strata))
        raise UserError(
            f"half_width: {half_width:g} cannot be reached with {photos} photos of each of {total} segments, all "
            f"graded; that gives {reached:.1f}; take more photos=, or a wider interval"
        )
    _, visited, graded = best
    every = np.arange(fewest, total + 1)
    alone = np.flatnonzero(expected_half_width(every, every, photos, total, parts, strata) <= half_width)
    return Plan(
        visited=visited,
        graded=graded,
        photos=photos,
        half_width=float(expected_half_width(visited, graded, photos, total, parts, strata)),
        people_alone=int(every[alone[0]]) if len(alone) else None,
    )


def draw_sample(streets: gpd.GeoDataFrame, plan: Plan, seed: int) -> gpd.GeoDataFrame:
    """Draw the segments to visit, at random within strata, in proportion to their segments.

    Args:
        streets: with `segment`, `name`, `length_m`, `stratum` and geometry.

    Returns:
        `visit` (1, 2, ..., in the order of the file), `segment`, `name`, `stratum`, `length_m`, `photos`, `grade` (its
        photos are to be graded by hand) and geometry.
    """
    streets = streets.sort_values("segment", kind="stable", ignore_index=True)
    names, stratum = np.unique(streets["stratum"].to_numpy(dtype=str), return_inverse=True)
    sizes = np.bincount(stratum)
    visits = _allocated(plan.visited, sizes)
    grades = _allocated(plan.graded, visits)
    chosen, graded = [], []
    for number in range(len(names)):
        generator = np.random.default_rng([seed, number])
        drawn = generator.permutation(np.flatnonzero(stratum == number))[: visits[number]]
        chosen += drawn.tolist()
        graded += drawn[: grades[number]].tolist()
    sample = streets.loc[sorted(chosen), ["segment", "name", "stratum", "length_m", "geometry"]]
    sample.insert(4, "photos", plan.photos)
    sample.insert(5, "grade", sample.index.isin(graded))
    sample.insert(0, "visit", range(1, len(sample) + 1))
    return sample.reset_index(drop=True)


def _fewest_graded(
    half_width: float, n: int, fewest: int, total: int, photos: int, parts: Components, strata: int
) -> int | None:
    """Graded segments, of n visited ones, that give the interval; None where not even all do."""
    g = np.arange(fewest, n + 1)
    enough = np.flatnonzero(expected_half_width(n, g, photos, total, parts, strata) <= half_width)
    return int(g[enough[0]]) if len(enough) else None


def _allocated(count: int, sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Share out `count` in proportion to sizes, two to each as far as it has them; the largest remainders get more."""
    size = np.asarray(sizes)
    least = np.minimum(2, size)
    exact = size * (count / size.sum())
    shares = np.maximum(np.floor(exact).astype(np.int64), least)
    while shares.sum() < count:
        room = np.where(shares < size, exact - shares, -np.inf)
        shares[int(np.argmax(room))] += 1
    while shares.sum() > count:
        room = np.where(shares > least, shares - exact, -np.inf)
        if not np.isfinite(room).any():
            break
        shares[int(np.argmax(room))] -= 1
    return shares


def _positive(covariance: Floats) -> Floats:
    """The nearest covariance that can be one: differences of estimates may not be."""
    values, vectors = np.linalg.eigh(covariance)
    positive: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
    return positive

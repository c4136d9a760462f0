"""Prediction-powered estimates: many photos seen by a model, few of them graded by a person.

The model's mean over all photos, moved by its mean error on the graded ones, is right on average whatever the model's
bias; the model's accuracy only makes the interval narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.metrics.statistics.intervals import Estimate
from streetlab.metrics.statistics.survey_sampling import Design, centred_within, segment_means, spread_within

Floats = NDArray[np.float64]
_NO_VARIANCE = 1e-18
"""What rounding leaves, relative to a squared value, where all predictions are the same."""


@dataclass(frozen=True)
class PowerTuned(Estimate):
    """An estimate with the weight that the model got.

    Args:
        tuning: λ: 0 where the model is left out, 1 where its predictions count in full.
    """

    tuning: float


@dataclass(frozen=True, eq=False)
class Graded:
    """The graded photos, summed up by segment.

    Args:
        segment: (g,) position of the segment in the design; none twice.
        grade: (g,) mean of the people's values over the segment's graded photos.
        prediction: (g,) mean of the model's values over the same photos.
        weights: (g,) weight of each, above 0: the segment's own weight where segments were drawn for grading, and
            that times the share of its photos that are graded where photos were drawn one by one.
        photos: (g,) graded photos of each.
        spread: (2, 2) covariance of grade and prediction between photos of one segment, see `spread_within`; None
            where it is not known.
    """

    segment: NDArray[np.int64]
    grade: Floats
    prediction: Floats
    weights: Floats
    photos: NDArray[np.int64]
    spread: Floats | None = None


def sum_up_grades(
    segments: NDArray[np.int64], grades: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None
) -> Graded:
    """Sum up graded photos by segment.

    Args:
        segments: (G,) segment of each graded photo, a position in the design.
        grades, predictions: (G,) by people and by the model.
        weights: (n,) of all segments, see `Graded`; None: each segment counts once.
    """
    segment, position, photos = np.unique(segments, return_inverse=True, return_counts=True)
    both = np.stack([np.asarray(grades, dtype=float), np.asarray(predictions, dtype=float)], axis=1)
    means = segment_means(both, position)
    return Graded(
        segment=segment,
        grade=means[:, 0],
        prediction=means[:, 1],
        weights=np.ones(len(segment)) if weights is None else np.asarray(weights, dtype=float)[segment],
        photos=photos,
        spread=spread_within(both, position),
    )


def prediction_powered_mean(
    predictions: ArrayLike, graded: Graded, design: Design, tuning: float | None = None
) -> PowerTuned:
    """Mean over segments of what a person would say of their photos: PPI++ with segments as clusters, by stratum.

    Angelopoulos, Duchi and Zrnic 2023 (PPI++, arXiv:2311.01453): in each stratum

        λ mean(predictions) + mean(grade - λ prediction over the graded)

    with the one λ that makes the variance least. All segments have predictions here, also those with grades, so λ
    stands for λ (1 + g/u) of the paper, for g segments with grades and u without; it is kept within 0 and the
    paper's 1. Grades and predictions of a segment are averaged first (clusters), and each segment enters the
    variance with all that it adds to the estimate, graded and not graded segments apart.

    Strata with fewer than two graded segments are joined with others for the mean error and its variance. Degrees of
    freedom follow Satterthwaite's rule, of the graded segments less one for λ; where their weights differ, fewer (Bell
    and McCaffrey 2002, Survey Methodology 28). Where a large fraction of a stratum's segments was drawn and segments
    have several graded photos, the variance of their true means is taken off (finite population correction).

    Args:
        predictions: (n,) the model's mean over all photos of each segment.
        tuning: λ, where it is not to be chosen by the data.

    Raises:
        ValueError: fewer than two graded segments.
    """
    f = np.asarray(predictions, dtype=float)
    g = len(graded.segment)
    if g < 2:
        raise ValueError(f"prediction_powered_mean: {g} graded segments, at least 2 are needed")
    strata = join_strata(design.strata, graded.segment)
    is_graded = np.zeros(len(f), dtype=bool)
    is_graded[graded.segment] = True
    share = design.shares
    stratum_share = np.bincount(strata, weights=share)
    of_stratum = strata[graded.segment]
    weights = graded.weights / np.bincount(of_stratum, weights=graded.weights)[of_stratum] * stratum_share[of_stratum]

    # what a segment adds to the estimate is a - λ b
    a, b = np.zeros(len(f)), np.zeros(len(f))
    mean = np.bincount(strata, weights=share * f) / stratum_share
    grade = _mean_by(of_stratum, weights, graded.grade)
    prediction = _mean_by(of_stratum, weights, graded.prediction)
    a[graded.segment] = weights * (graded.grade - grade[of_stratum])
    b[graded.segment] = weights * (graded.prediction - prediction[of_stratum])
    b -= share * (f - mean[strata])
    cells = 2 * strata + is_graded
    parts, factor = centred_within(np.stack([a, b], axis=1), cells)
    moments = (parts * factor[:, None]).T @ parts
    lost = 0
    if tuning is None:
        u = len(f) - g
        most = 1 + g / u if u else np.inf
        lost = int(moments[1, 1] > _NO_VARIANCE * float(np.abs(f).max()) ** 2)
        tuning = float(np.clip(moments[0, 1] / moments[1, 1], 0.0, most)) if lost else 0.0
    value = float(stratum_share @ (tuning * mean + grade - tuning * prediction))

    errors = factor * (parts[:, 0] - tuning * parts[:, 1]) ** 2
    of_graded, of_others = float(errors[is_graded].sum()), float(errors[~is_graded].sum())
    df, enlarged = _unequal(weights, of_stratum)
    df -= lost
    if df <= 0 or of_graded + of_others <= 0:
        return PowerTuned(value, 0.0 if df > 0 else np.nan, df, tuning)
    of_graded *= enlarged
    if lost:
        # residuals of a fitted λ are too small, and λ's own error counts as far as the graded differ from the others
        apart = float(stratum_share @ (prediction - mean)) ** 2 / moments[1, 1]
        of_graded *= (df + lost) / df * (1 + apart / g)
    variance = of_graded + of_others
    df_others = max(1, int((~is_graded).sum()) - len(np.unique(strata[~is_graded])))
    df_total = variance**2 / (of_graded**2 / df + of_others**2 / df_others)
    if graded.spread is not None and design.fraction.any():
        by_photo = weights**2 / graded.photos
        residual = np.array([1.0, -tuning])
        least = float(residual @ graded.spread @ residual) * float(by_photo.sum())
        between = float((a[graded.segment] ** 2).sum() - graded.spread[0, 0] * by_photo.sum()) / (weights**2).sum()
        off = max(0.0, between) * float((design.shares**2 * design.fraction).sum())
        variance = max(variance - off, min(variance, least))
    return PowerTuned(value, float(np.sqrt(variance)), df_total, tuning)


def _unequal(weights: Floats, strata: NDArray[np.int64]) -> tuple[float, float]:
    """Degrees of freedom of a variance over graded segments, and the factor by which unequal weights enlarge it.

    With equal weights the first is segments minus strata, the second 1.
    """
    df, expected, usual = 0.0, 0.0, 0.0
    for stratum in np.unique(strata):
        w = weights[strata == stratum] / weights[strata == stratum].sum()
        square = float((w**2).sum())
        df += square**2 / float((w**4).sum()) - 1
        expected += square
        usual += len(w) / (len(w) - 1) * (square - 2 * float((w**3).sum()) + square**2) if len(w) > 1 else square
    return df, expected / usual if usual > 0 else 1.0


def join_strata(strata: NDArray[np.int64], graded: NDArray[np.int64], least: int = 2) -> NDArray[np.int64]:
    """(n,) strata 0..H-1, those with fewer than `least` graded segments joined with the next larger one.

    Collapsed strata, Cochran 1977, Sampling Techniques, 5A.12.
    """
    _, joined = np.unique(strata, return_inverse=True)
    while (count := int(joined.max()) + 1) > 1:
        sizes = np.bincount(joined[graded], minlength=count)
        if sizes.min() >= least:
            break
        smallest, next_smallest = np.argsort(sizes, kind="stable")[:2]
        joined = np.where(joined == smallest, next_smallest, joined)
        _, joined = np.unique(joined, return_inverse=True)
    return joined


def _mean_by(groups: NDArray[np.int64], weights: Floats, values: Floats) -> Floats:
    return np.bincount(groups, weights=weights * values) / np.bincount(groups, weights=weights)

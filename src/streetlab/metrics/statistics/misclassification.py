"""Class shares corrected for a classifier's errors: by its confusion matrix, or for a shift of the classes alone.

Both hold only as far as the classifier errs on these photos as it did on its test photos, or is calibrated. Where
that is in doubt, grades of a random subsample help, see `prediction_powered`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import t

from streetlab.metrics.statistics.survey_sampling import Design, centred_within

Floats = NDArray[np.float64]

_WORST_CONDITION = 50.0
"""Of the confusion matrix: above, an error of a percent in the shares is one of half of them."""
_PRIOR = 0.5
"""Added to each count where the variance of a rate is estimated, so that a count of 0 is not certain (Jeffreys)."""


@dataclass(frozen=True, eq=False)
class CorrectedShares:
    """Shares of K classes.

    Args:
        shares: (K,) 0 to 1, with the sum 1.
        unconstrained: (K,) the same before they were kept within 0 to 1, with the sum 1.
        covariance: (K, K) of the unconstrained shares.
        df: degrees of freedom of the covariance.
    """

    shares: Floats
    unconstrained: Floats
    covariance: Floats
    df: float

    def mean(self, values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
        """Mean of one value per class under these shares: (value, low, high).

        Student's interval about the unconstrained mean, cut to what the values allow; it holds the value.
        """
        v = np.asarray(values, dtype=float)
        value, centre = float(self.shares @ v), float(self.unconstrained @ v)
        half = float(t.ppf(0.5 + confidence / 2, self.df) * np.sqrt(max(0.0, v @ self.covariance @ v)))
        low, high = np.clip([centre - half, centre + half], v.min(), v.max())
        return value, min(float(low), value), max(float(high), value)


def rogan_gladen(observed: ArrayLike, covariance: ArrayLike, df: float, confusion: ArrayLike) -> CorrectedShares:
    """Correct the shares of predicted classes by the classifier's confusion.

    Rogan and Gladen 1978 (Am J Epidemiol 107) for K classes: the predicted shares are the true ones times the
    row-normalized confusion, which is inverted. The variance is the delta method's, of both sources: the survey's and
    the test part's, whose rows are multinomial. A half is added to each of its counts for that, as without it a
    cell that happens to be empty would be certain. The shares are the nearest to the inverse's in the metric of
    its variance that are 0 or more.

    Args:
        observed: (K,) predicted shares.
        covariance: (K, K) of them.
        df: degrees of freedom of the covariance.
        confusion: (K, K) counts of the test part; the row is the true class.

    Raises:
        ValueError: a class without a test photo, or a confusion that hardly tells the classes apart.
    """
    q, counts = np.asarray(observed, dtype=float), np.asarray(confusion, dtype=float)
    support = counts.sum(axis=1)
    if (support == 0).any():
        raise ValueError("a class has no test photo")
    rates = (counts / support[:, None]).T
    if np.linalg.cond(rates) > _WORST_CONDITION:
        raise ValueError("the classifier hardly tells the classes apart")
    inverse = np.linalg.inv(rates)
    shares = inverse @ q
    smooth = (counts + _PRIOR) / (support + len(q) * _PRIOR)[:, None]
    of_test = np.zeros((len(q), len(q)))
    test_df = []
    for share, row, n in zip(np.clip(shares, 0, 1), smooth, support, strict=True):
        part = share**2 * (np.diag(row) - np.outer(row, row)) / n
        of_test += part
        test_df.append((float(np.trace(part)), max(1.0, float(n) - 1)))
    of_survey = np.asarray(covariance, dtype=float)
    total = inverse @ (of_survey + of_test) @ inverse.T
    parts = [(float(np.trace(of_survey)), df), *test_df]
    below = sum(part**2 / degrees for part, degrees in parts)
    total_df = sum(part for part, _ in parts) ** 2 / below if below > 0 else df
    return CorrectedShares(_on_simplex(shares, total), shares, total, total_df)


def shifted_priors(
    probabilities: ArrayLike, prior: ArrayLike, segments: NDArray[np.int64], weights: ArrayLike, design: Design
) -> CorrectedShares:
    """Class shares of a survey whose photos differ from the training photos in their class shares alone.

    Expectation maximization of Saerens, Latinne and Decaestecker 2002 (Neural Computation 14): the photos'
    probabilities are moved to the shares that make them most likely. The variance is the sandwich of that
    likelihood with segments as clusters; it takes the probabilities as right, so that it knows nothing of errors
    of the calibration.

    Args:
        probabilities: (N, K) calibrated.
        prior: (K,) class shares under which the probabilities hold, all above 0.
        segments: (N,) segment of each photo, a position in the design.
        weights: (N,) weight of each photo, above 0.
        design: of the segments; their weights are not used.

    Raises:
        ValueError: a class without share in the prior.
    """
    p, before = np.asarray(probabilities, dtype=float), np.asarray(prior, dtype=float)
    w = np.asarray(weights, dtype=float)
    w = w / w.sum()
    if (before <= 0).any():
        raise ValueError("a class has no photo that a prior could be taken from")
    likelihood = p / before
    shares = before / before.sum()
    for _ in range(2000):
        joint = likelihood * shares
        updated = w @ (joint / joint.sum(axis=1, keepdims=True))
        done = np.abs(updated - shares).max() < 1e-9
        shares = updated
        if done:
            break
    # free shares are all but the last; the score of a photo is the ratio of likelihoods to the mixture's
    ratio = likelihood / (likelihood @ shares)[:, None]
    basis = np.concatenate([np.eye(len(shares) - 1), -np.ones((1, len(shares) - 1))])
    score = ratio @ basis
    information = (score * w[:, None]).T @ score
    sums = np.zeros((len(design), score.shape[1]))
    np.add.at(sums, segments, w[:, None] * score)
    centred, factor = centred_within(sums, design.strata)
    middle = (centred * factor[:, None]).T @ centred
    bread = np.linalg.pinv(information)
    covariance = basis @ bread @ middle @ bread @ basis.T
    return CorrectedShares(shares, shares, covariance, max(1, design.df))


def _on_simplex(shares: Floats, covariance: Floats) -> Floats:
    """The shares of 0 or more, with the sum 1, that are nearest to these in the metric of the covariance."""
    if (shares >= 0).all():
        return shares / shares.sum()
    free = len(shares) - 1
    metric = np.linalg.pinv(covariance[:free, :free])
    start = np.clip(shares, 0, None)

    def distance(x: Floats) -> float:
        return float((x - shares[:free]) @ metric @ (x - shares[:free]))

    nearest = minimize(
        distance,
        (start / start.sum())[:free],
        method="SLSQP",
        bounds=[(0, 1)] * free,
        constraints={"type": "ineq", "fun": lambda x: 1 - x.sum()},
    ).x
    kept = np.clip(np.append(nearest, 1 - nearest.sum()), 0, 1)
    return kept / kept.sum()

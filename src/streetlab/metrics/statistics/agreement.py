"""Agreement on an ordinal scale, from one (K, K) matrix whose row is the true class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quadratic_weighted_kappa(matrix: NDArray[np.int64]) -> float | None:
    """Cohen's kappa with disagreement weighted by the squared distance of the classes (Cohen 1968).

    None where truth and predictions hold one and the same class only: chance leaves nothing to disagree on.
    """
    classes = np.arange(len(matrix))
    weights = np.subtract.outer(classes, classes).astype(float) ** 2
    expected = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()
    chance = float((weights * expected).sum())
    return 1 - float((weights * matrix).sum()) / chance if chance > 0 else None


def far_errors(matrix: NDArray[np.int64]) -> int:
    """Number of photos that are two or more steps off."""
    classes = np.arange(len(matrix))
    return int(matrix[np.abs(np.subtract.outer(classes, classes)) >= 2].sum())


def far_error_share(matrix: NDArray[np.int64]) -> float:
    """Share of all photos that are two or more steps off."""
    return far_errors(matrix) / int(matrix.sum())

"""A mean over photos with its interval, photos of one group being one piece of evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from streetlab.metrics.statistics.bootstrap import cluster_photos


def mean_interval(values: ArrayLike, groups: Sequence[str] | None = None, confidence: float = 0.95) -> dict[str, Any]:
    """`{"mean": float, "interval": [low, high]}` of one value per photo; the interval is None for a single group.

    Student's t interval, with the cluster-robust standard error of a mean (Liang and Zeger 1986, Biometrika 73):
    deviations are added up within a group before they are squared. Where every photo stands alone it is the usual
    t interval; of paired differences it is that of the paired t test.

    Args:
        values: (N,), finite, at least one.
        groups: what each photo shows; None where every photo stands alone.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    clusters = cluster_photos([""] * len(values) if groups is None else groups)
    count = int(clusters.max()) + 1
    if count < 2:
        return {"mean": mean, "interval": None}
    sums = np.bincount(clusters, weights=values - mean, minlength=count)
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values)
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * error
    return {"mean": mean, "interval": [mean - half, mean + half]}

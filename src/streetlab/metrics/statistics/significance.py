"""McNemar's tests of two classifiers on the same photos, and Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p (McNemar 1947): the photos that one alone has right are fair coin flips if none is better.

    It never rejects too often, and at n ≈ 100 far too seldom. Photos count as independent: duplicates make it
    reject too often.

    Args:
        only_first, only_second: photos that only this classifier has right.
    """
    discordant = only_first + only_second
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), discordant, 0.5)))


def mcnemar_mid_p(only_first: int, only_second: int) -> float:
    """Two-sided mid-p: outcomes as likely as the observed one count half, those less likely in full.

    Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol 13:91: close to the nominal level in nearly all cases
    and hardly ever above it. 1 where no photo tells the two apart.
    """
    discordant = only_first + only_second
    if not discordant:
        return 1.0
    point = float(binom.pmf(only_first, discordant, 0.5))
    # 2 P(X <= k) - P(X = k); in the middle both tails share the one point
    return 1 - point / 2 if only_first == only_second else mcnemar_exact(only_first, only_second) - point


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p of each test by Holm's step-down (1979, Scand J Stat 6), in the order given.

    Rejecting where it is below 5% keeps the chance of any false rejection at 5%, however the tests depend.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted

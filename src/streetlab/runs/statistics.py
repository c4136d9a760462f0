"""Intervals for measured rates."""

from __future__ import annotations

import math

from scipy.stats import norm


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a rate of `hits` in `n` independent trials (Wilson 1927, JASA 22).

    Unlike hits/n ± 1.96 standard errors it stays inside 0..1 and keeps its coverage at n ≈ 100.

    Returns:
        (low, high), each 0 to 1.

    Raises:
        ValueError: n is below 1, or hits is not in 0..n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"wilson_interval: {hits} hits of {n} trials")
    z = float(norm.ppf(0.5 + confidence / 2))
    rate = hits / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # the ends are exact at 0 and n hits, where rounding leaves 1e-17
    return (0.0 if hits == 0 else centre - half, 1.0 if hits == n else centre + half)

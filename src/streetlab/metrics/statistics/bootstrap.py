"""Bootstrap a test set: resample duplicate groups instead of photos, and within their class.

Photos of one group are no independent evidence, and the number of photos per class was fixed when the data were
split, so neither may vary freely from draw to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.metrics.statistics.scores import Score

_LARGEST_CHUNK = 1_000_000
"""Weights and counts held at a time: 8 MB each."""


def cluster_photos(groups: Sequence[str]) -> NDArray[np.int64]:
    """(N,) cluster of each photo, 0..G-1 in the order of their first photo; one without a name stands alone."""
    number: dict[str | int, int] = {}
    return np.array([number.setdefault(group or i, len(number)) for i, group in enumerate(groups)], dtype=np.int64)


def strata_of(clusters: NDArray[np.int64], labels: ArrayLike) -> NDArray[np.int64]:
    """(G,) stratum of each cluster: the class of most of its photos, the first of equals.

    A stratum of one cluster cannot be resampled and would seem to be certain, so it joins the next smallest one
    (collapsed strata, Cochran 1977, Sampling Techniques, 5A.12).
    """
    labels = np.asarray(labels, dtype=np.int64)
    votes = np.zeros((int(clusters.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (clusters, labels), 1)
    strata = votes.argmax(axis=1)
    while True:
        names, sizes = np.unique(strata, return_counts=True)
        if len(names) == 1 or sizes.min() > 1:
            return np.searchsorted(names, strata)
        smallest, next_smallest = names[np.argsort(sizes, kind="stable")[:2]]
        strata[strata == smallest] = next_smallest


def degrees_of_freedom(strata: NDArray[np.int64]) -> int:
    """Degrees of freedom of a variance: clusters minus strata, at least 1."""
    return max(1, len(strata) - len(np.unique(strata)))


def bootstrap_weights(
    strata: NDArray[np.int64], draws: int, seed: int, chunk: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """Count each of G clusters in each resampled test set, as (at most `chunk`, G) weights at a time.

    From a stratum of n clusters n - 1 are drawn with replacement, and each counts n / (n - 1): then the variance
    over draws is unbiased for sums, where the plain bootstrap's is too small by (n - 1) / n (Rao and Wu 1988, JASA
    83). The same seed gives the same weights, whatever the chunk.
    """
    chunk = chunk or max(1, _LARGEST_CHUNK // len(strata))
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    generators = [np.random.default_rng([seed, stratum]) for stratum in range(len(members))]
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        weights = np.ones((rows, len(strata)))
        for generator, positions in zip(generators, members, strict=True):
            if (n := len(positions)) > 1:
                drawn = generator.integers(0, n, (rows, n - 1)) + n * np.arange(rows)[:, None]
                times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
                weights[:, positions] = times * (n / (n - 1))
        yield weights


def bootstrap_scores(
    runs: Sequence[NDArray[np.float64]], strata: NDArray[np.int64], score: Score, draws: int, seed: int
) -> NDArray[np.float64]:
    """(R, draws) scores of R runs on the same resampled test sets.

    Args:
        runs: (G, K, 3) counts per cluster of each run.
        strata: (G,) stratum of each cluster.
    """
    largest = max(len(strata), runs[0][0].size)
    parts = []
    for weights in bootstrap_weights(strata, draws, seed, max(1, _LARGEST_CHUNK // largest)):
        resampled = [(weights @ run.reshape(len(run), -1)).reshape(len(weights), *run.shape[1:]) for run in runs]
        parts.append(np.stack([score(counts) for counts in resampled]))
    return np.concatenate(parts, axis=1)

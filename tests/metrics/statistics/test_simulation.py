"""Check the statistics in simulated worlds with a known truth; methods known to be wrong must fail there.

The quick cases are wide enough for a few hundred worlds, the slow ones simulate 1,000 of each kind.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streetlab.metrics.statistics.bootstrap import bootstrap_scores, cluster_photos, degrees_of_freedom, strata_of
from streetlab.metrics.statistics.differences import Difference, paired_difference
from streetlab.metrics.statistics.intervals import score_interval, student_interval
from streetlab.metrics.statistics.scores import accuracy, image_counts, macro_f1, miou, photo_counts, sum_by_cluster
from streetlab.metrics.statistics.significance import mcnemar_exact, mcnemar_mid_p

CLASSES = np.repeat([0, 1, 2], [38, 37, 37])  # 112 photos, as in the study's test split
N = len(CLASSES)
DRAWS = 400
SCORES = {"macro_f1": macro_f1, "accuracy": accuracy}
ACCURACY = 0.85
CONFUSION = np.array([[0.80, 0.12, 0.08], [0.12, 0.74, 0.14], [0.06, 0.10, 0.84]])


def _several(fast: int):
    """The number of simulated worlds: few for `make test`, 1,000 for `make test-all`."""
    return pytest.mark.parametrize("worlds", [fast, pytest.param(1000, marks=pytest.mark.slow)])


def _clusters(rng, duplicates: bool) -> np.ndarray:
    """The cluster of each photo; duplicate groups have one to three photos of one class."""
    if not duplicates:
        return np.arange(N)
    starts = rng.random(N) < 0.6
    for label in range(3):
        starts[np.argmax(label == CLASSES)] = True
    names, size = [], 0
    for start in starts:
        size = 1 if start or size == 3 else size + 1
        names.append(f"{len(names)}" if size == 1 else names[-1])
    return cluster_photos(names)


def _shared(rng, clusters, values) -> np.ndarray:
    """Each photo's value is its cluster's with a chance of 95%, else its own."""
    own, common = values(N), values(N)[clusters]
    return np.where(rng.random(N) < 0.95, common, own)


def _answers(rng, clusters, runs: int, seed_spread: float = 0.0) -> list[np.ndarray]:
    """Runs of one recipe: hard photos are hard for all, each run has its own blunders and its own luck."""
    scale = np.sqrt(1 + 0.6**2 + seed_spread**2)
    easy = stats.norm.ppf(ACCURACY) * scale + rng.normal(size=N)[clusters]
    wrong = (CLASSES + rng.integers(1, 3, N)[clusters]) % 3
    each = []
    for _ in range(runs):
        margin = easy + 0.6 * _shared(rng, clusters, rng.standard_normal) + seed_spread * rng.normal()
        each.append(np.where(margin > 0, CLASSES, wrong))
    return each


def _resampled(runs, clusters, score, seed):
    """Scores of the runs, their bootstrap scores, and the strata."""
    strata = strata_of(clusters, CLASSES)
    counts = [sum_by_cluster(photo_counts(CLASSES, run, 3), clusters) for run in runs]
    drawn = bootstrap_scores(counts, strata, score, DRAWS, seed)
    return [float(score(run.sum(axis=0))) for run in counts], drawn, strata


def _difference(runs, of_first: int, clusters, score, seed) -> tuple[Difference, float]:
    """The difference of the first runs to the others, and its p if the photos were all the chance there is."""
    scores, drawn, strata = _resampled(runs, clusters, score, seed)
    difference = paired_difference(
        (scores[:of_first], scores[of_first:]),
        (drawn[:of_first], drawn[of_first:]),
        len(strata),
        degrees_of_freedom(strata),
    )
    photos = np.std(drawn[:of_first].mean(axis=0) - drawn[of_first:].mean(axis=0), ddof=1)
    return difference, 2 * stats.norm.sf(abs(difference.value) / photos)


def _within(rate: float, worlds: int, wanted: tuple[float, float]) -> bool:
    """Check that a simulated rate is in the wanted range, with room for chance where the worlds are few."""
    room = 0.0 if worlds >= 1000 else 0.03
    return wanted[0] - room <= rate <= wanted[1] + room


@_several(300)
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("duplicates", [False, True])
def test_two_equal_runs_are_told_apart_in_5_percent_of_the_test_sets(name, duplicates, worlds):
    rng = np.random.default_rng(11)
    rejected, without_clusters = [], []
    for seed in range(worlds):
        clusters = _clusters(rng, duplicates)
        runs = _answers(rng, clusters, 2)
        rejected.append(_difference(runs, 1, clusters, SCORES[name], seed)[0].p_value < 0.05)
        without_clusters.append(_difference(runs, 1, np.arange(N), SCORES[name], seed)[0].p_value < 0.05)
    assert _within(np.mean(rejected), worlds, (0.03, 0.07))
    if duplicates:
        assert not _within(np.mean(without_clusters), worlds, (0.03, 0.07))


@_several(300)
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("duplicates", [False, True])
def test_the_interval_of_a_score_covers_the_truth_in_95_percent(name, duplicates, worlds):
    rng = np.random.default_rng(5)
    expected = CONFUSION * np.bincount(CLASSES)[:, None]
    truth = float(SCORES[name](image_counts(expected)))
    cumulative = CONFUSION.cumsum(axis=1)

    def covers(predictions, clusters, seed):
        (score,), drawn, strata = _resampled([predictions], clusters, SCORES[name], seed)
        error = float(np.std(drawn[0], ddof=1))
        low, high = score_interval(score, error, len(strata), degrees_of_freedom(strata))
        return low <= truth <= high

    covered, without_clusters = [], []
    for seed in range(worlds):
        clusters = _clusters(rng, duplicates)
        lot = _shared(rng, clusters, rng.random)
        predictions = (lot[:, None] > cumulative[CLASSES]).sum(axis=1)
        covered.append(covers(predictions, clusters, seed))
        without_clusters.append(covers(predictions, np.arange(N), seed))
    assert _within(np.mean(covered), worlds, (0.93, 0.97))
    if duplicates:
        assert not _within(np.mean(without_clusters), worlds, (0.93, 0.97))


@_several(200)
@pytest.mark.parametrize(("seeds", "spread"), [((5, 5), 0.2), ((3, 3), 0.2), ((3, 5), 0.4), ((5, 5), 0.0)])
def test_equal_recipes_are_told_apart_in_at_most_5_percent_of_the_sets_of_seeds(seeds, spread, worlds):
    # 0.2 spreads the true accuracies of the seeds by 4 points, 0.4 by 8
    rng = np.random.default_rng(23)
    rejected, photos_only = [], []
    for seed in range(worlds):
        clusters = _clusters(rng, duplicates=True)
        runs = _answers(rng, clusters, sum(seeds), spread)
        difference, photos = _difference(runs, seeds[0], clusters, macro_f1, seed)
        rejected.append(difference.p_value < 0.05)
        photos_only.append(photos < 0.05)
    # 3.2 to 4.5% in 4,000 worlds each: careful rather than wrong
    assert _within(np.mean(rejected), worlds, (0.02, 0.07))
    if spread:
        assert not _within(np.mean(photos_only), worlds, (0.02, 0.07))


@_several(200)
def test_segmentation_runs_are_told_apart_in_5_percent_and_miou_is_covered(worlds):
    rng = np.random.default_rng(3)
    k, images = 6, 112
    shares = np.array([0.35, 0.25, 0.15, 0.15, 0.06, 0.04])

    def matrices(skill, pixels):
        """(N, K, K): a share `skill` of each class's pixels is right, the rest goes to the next class."""
        right, wrong = np.eye(k), np.roll(np.eye(k), 1, axis=1)
        return (skill * pixels)[..., None] * right + ((1 - skill) * pixels)[..., None] * wrong

    def skills(n, runs):
        hard = rng.beta(8, 2, (n, k))
        return [np.clip(hard + rng.normal(0, 0.04, (n, 1)) + rng.normal(0, 0.02, (n, k)), 0, 1) for _ in range(runs)]

    def areas(n):
        return rng.dirichlet(10 * shares, n) * 1000

    many = areas(200_000)
    truth = float(miou(image_counts(matrices(skills(200_000, 1)[0], many).sum(axis=0))))
    strata = np.zeros(images, dtype=np.int64)
    rejected, covered = [], []
    for seed in range(worlds):
        pixels = areas(images)
        counts = [image_counts(matrices(skill, pixels)) for skill in skills(images, 2)]
        drawn = bootstrap_scores(counts, strata, miou, DRAWS, seed)
        scores = [float(miou(run.sum(axis=0))) for run in counts]
        pair = paired_difference((scores[:1], scores[1:]), (drawn[:1], drawn[1:]), images, images - 1)
        rejected.append(pair.p_value < 0.05)
        low, high = score_interval(scores[0], float(np.std(drawn[0], ddof=1)), images, images - 1)
        covered.append(low <= truth <= high)
    assert _within(np.mean(rejected), worlds, (0.03, 0.07))
    assert _within(np.mean(covered), worlds, (0.93, 0.97))


def test_five_seeds_cover_their_mean_in_95_percent_and_a_percentile_bootstrap_does_not():
    rng = np.random.default_rng(0)
    values = rng.normal(0.8, 0.03, (1000, 5))
    student = [student_interval(list(row)) for row in values]
    assert 0.93 <= np.mean([low <= 0.8 <= high for low, high in student]) <= 0.97
    means = np.take_along_axis(values[:, None], rng.integers(0, 5, (1000, DRAWS, 5)), axis=2).mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0.8) & (high >= 0.8)) < 0.90


def test_mcnemar_keeps_its_level_on_112_photos():
    rng = np.random.default_rng(7)
    exact, mid = [], []
    for _ in range(1000):
        first, second = (answers == CLASSES for answers in _answers(rng, np.arange(N), 2))
        counts = int((first & ~second).sum()), int((second & ~first).sum())
        exact.append(mcnemar_exact(*counts) < 0.05)
        mid.append(mcnemar_mid_p(*counts) < 0.05)
    assert np.mean(exact) <= 0.05
    assert 0.03 <= np.mean(mid) <= 0.07

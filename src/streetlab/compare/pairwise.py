"""Run groups against a baseline on the same photos, and the interval of one run: statistics applied to records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streetlab.compare.grouping import FinishedRun, RunGroup
from streetlab.datasets.labels import same_names
from streetlab.errors import UserError
from streetlab.metrics.catalogue import resampled
from streetlab.metrics.statistics import wilson_interval
from streetlab.metrics.statistics.bootstrap import bootstrap_scores, cluster_photos, degrees_of_freedom, strata_of
from streetlab.metrics.statistics.differences import FEWEST_A_SIDE, Difference, paired_difference
from streetlab.metrics.statistics.intervals import score_interval, student_interval
from streetlab.metrics.statistics.scores import Score, sum_by_cluster
from streetlab.metrics.statistics.significance import holm, mcnemar_exact, mcnemar_mid_p


@dataclass(frozen=True)
class McNemar:
    """McNemar's tests of two single runs; duplicates among the photos count as if they were independent."""

    only_baseline_right: int
    only_group_right: int
    p_exact: float
    p_mid: float


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """One run group against the baseline on the same photos.

    Args:
        metric: key of the split's numbers: macro_f1, accuracy, miou or pixel_accuracy.
        n: photos or images.
        clusters: duplicate groups or recordings among them; n where each stands alone.
        seeds: runs of the group, runs of the baseline.
        difference: metric of the group minus that of the baseline, means over seeds.
        interval: 95%, over photos and, with two runs and more a side, over seeds; see
            `statistics.differences.paired_difference`.
        p_value: two-sided, of the same distribution.
        p_adjusted: by Holm over all comparisons of the table.
        mcnemar: classification, where both groups have exactly one run.
        smallest_difference: the smallest true difference that this test would find in 80% of cases.
        delta: margin of equivalence, in the metric's unit.
        verdict: better or worse where the adjusted p is below 5%; else equivalent where two one-sided tests at 5%
            show the difference to lie within ± delta; else not enough data.
    """

    group: RunGroup
    baseline: RunGroup
    metric: str
    n: int
    clusters: int
    seeds: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_adjusted: float
    mcnemar: McNemar | None
    smallest_difference: float
    delta: float
    verdict: str

    @property
    def sentence(self) -> str:
        """The verdict with its numbers: `better: +0.047 [+0.012, +0.083], p = 0.012 (Holm)`."""
        low, high = self.interval
        numbers = f"{self.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        if self.verdict == "equivalent":
            text = f"equivalent within {self.delta:g}: {numbers}"
        elif self.verdict == "not enough data":
            limit = f"differences below {self.smallest_difference:.2g} cannot be shown with {self._evidence}"
            text = f"not enough data: {numbers}; {limit}"
        else:
            p = "p < 0.001" if self.p_adjusted < 0.001 else f"p = {self.p_adjusted:.2g}"
            text = f"{self.verdict}: {numbers}, {p} (Holm)"
        if min(self.seeds) >= FEWEST_A_SIDE:
            return text
        return f"{text}; the seed's influence is not in it ({self.seeds[0]} run against {self.seeds[1]})"

    @property
    def _evidence(self) -> str:
        spec = self.group.runs[0].spec
        apart = f"{self.clusters} recordings" if spec.per_pixel else f"{self.clusters} without their duplicates"
        apart = f" ({apart})" if self.clusters < self.n else ""
        runs = f" and {self.seeds[0]} against {self.seeds[1]} runs" if min(self.seeds) >= FEWEST_A_SIDE else ""
        return f"these {self.n} {spec.noun}{apart}{runs}"


def compare_with_baseline(
    groups: Sequence[RunGroup],
    baseline: RunGroup,
    metric: str,
    mode: str,
    delta: float = 0.02,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[list[PairedComparison], list[tuple[RunGroup, str]]]:
    """All groups but the baseline against it, and the groups that cannot be tested, each with the reason.

    Args:
        mode: max or min, which way the metric is better.
        delta: margin of equivalence, in the metric's unit.
        draws, seed: of the bootstrap; all comparisons share its resampled test sets.
    """
    others = [group for group in groups if group is not baseline]
    try:
        base = [_answers(run, metric) for run in baseline.runs]
        for answers in base[1:]:
            answers.require_same_photos(base[0])
        grouped = next((answers for answers in _all_answers(others, metric, base) if any(answers.groups)), base[0])
        resampling = _Resampling(grouped, resampled(baseline.runs[0].task)[metric], draws, seed)
        base_scores, base_drawn = resampling.side(base)
    except UserError as error:
        return [], [(group, f"the baseline cannot be tested: {error}") for group in others]
    tested: list[tuple[RunGroup, Difference, McNemar | None]] = []
    refused: list[tuple[RunGroup, str]] = []
    for group in others:
        try:
            own = [_answers(run, metric) for run in group.runs]
            for answers in own:
                answers.require_same_photos(base[0])
            scores, drawn = resampling.side(own)
        except UserError as error:
            refused.append((group, str(error)))
            continue
        difference = paired_difference(
            (scores, base_scores), (drawn, base_drawn), clusters=resampling.clusters, df=resampling.df
        )
        tested.append((group, difference, _mcnemar(own, base)))
    adjusted = holm([difference.p_value for _, difference, _ in tested])
    comparisons = [
        PairedComparison(
            group=group,
            baseline=baseline,
            metric=metric,
            n=len(base[0].ids),
            clusters=resampling.clusters,
            seeds=(len(group.runs), len(baseline.runs)),
            difference=difference.value,
            interval=difference.interval(),
            p_value=difference.p_value,
            p_adjusted=float(p),
            mcnemar=mcnemar,
            smallest_difference=difference.smallest,
            delta=delta,
            verdict=difference.verdict(float(p), delta, higher_is_better=mode == "max"),
        )
        for (group, difference, mcnemar), p in zip(tested, adjusted, strict=True)
    ]
    return comparisons, refused


def metric_interval(run: FinishedRun, metric: str, draws: int = 2000, seed: int = 0) -> tuple[float, float] | None:
    """95% interval of one run's metric over the photos; None where it cannot be had.

    Wilson's for the accuracy of photos without duplicates; else from a bootstrap, of photos by class and duplicate
    group, of images by recording.
    """
    try:
        answers = _answers(run, metric)
        resampling = _Resampling(answers, resampled(run.task)[metric], draws, seed)
        if metric == "accuracy" and answers.right is not None and resampling.clusters == len(answers.ids):
            return wilson_interval(int(answers.right.sum()), len(answers.ids))
        (score,), drawn = resampling.side([answers])
    except UserError:
        return None
    return score_interval(score, float(np.std(drawn, ddof=1)), resampling.clusters, resampling.df)


def seeds_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95% Student t interval of the mean over seeds; None below 5 values ("n < 5: not estimated")."""
    return student_interval(values)


@dataclass(frozen=True, eq=False)
class _Answers:
    """One run's predictions for each photo or image of its tested split, in the order of the ids.

    Args:
        where: the run's folders, for messages.
        ids: N ids.
        groups: N names of duplicate groups, or of the recordings that images are frames of.
        strata: (N,) what is resampled apart: the labels of photos; 0 for all images.
        counts: (N, K, 3) hits, predicted and true, see `statistics.scores`.
        right: (N,) whether a photo's class was found; None for images.
        names: K class names.
    """

    where: str
    ids: Sequence[str]
    groups: Sequence[str]
    strata: NDArray[np.int64]
    counts: NDArray[np.float64]
    right: NDArray[np.bool_] | None
    names: tuple[str, ...]

    def require_same_photos(self, reference: _Answers) -> None:
        """Raise UserError unless both were tested on the same photos, with the same truth."""
        ids, others = set(self.ids), set(reference.ids)
        if ids != others:
            raise UserError(
                f"{self.where}: tested on other photos than {reference.where} "
                f"({len(ids - others)} only here, {len(others - ids)} only there)"
            )
        if not same_names(self.names, reference.names):
            raise UserError(f"{self.where}: other classes than {reference.where}")
        if not np.array_equal(self.counts[..., 2], reference.counts[..., 2]):
            raise UserError(f"{self.where}: the same photos are labelled otherwise in {reference.where}")


def _answers(run: FinishedRun, metric: str) -> _Answers:
    """Read them.

    Raises:
        UserError: the metric cannot be resampled, the record's file is missing or damaged, or a photo is in it twice.
    """
    known = resampled(run.task)
    if metric not in known:
        raise UserError(f"{metric} cannot be resampled photo by photo; {' and '.join(known) or 'nothing'} can")
    results = run.results()
    order = _by_id(results.ids, run)
    return _Answers(
        where=run.where,
        ids=[results.ids[i] for i in order],
        groups=[results.groups[i] for i in order],
        strata=results.strata[order],
        counts=results.counts[order],
        right=None if results.right is None else results.right[order],
        names=tuple(results.names),
    )


def _all_answers(groups: Sequence[RunGroup], metric: str, base: Sequence[_Answers]) -> Iterator[_Answers]:
    """The baseline's answers, and those of other runs on its photos: records from before know no recordings."""
    yield from base
    for run in (run for group in groups for run in group.runs):
        with suppress(UserError):
            answers = _answers(run, metric)
            answers.require_same_photos(base[0])
            yield answers


def _by_id(ids: Sequence[str], run: FinishedRun) -> list[int]:
    if len(set(ids)) < len(ids):
        raise UserError(f"{run.where}: a photo stands twice in its {run.eval_split} split")
    return sorted(range(len(ids)), key=lambda position: ids[position])


class _Resampling:
    """The resampled test sets that all runs on one set of photos share.

    Args:
        reference: whose photos, duplicate groups and labels count.

    Raises:
        UserError: the photos are all of one duplicate group or recording.
    """

    def __init__(self, reference: _Answers, score: Score, draws: int, seed: int) -> None:
        self._score, self._draws, self._seed = score, draws, seed
        self._cluster_of = cluster_photos(reference.groups)
        self.clusters = len(np.unique(self._cluster_of))
        if self.clusters < 2:
            raise UserError(
                f"{reference.where}: one photo, duplicates of one, or frames of one recording tell nothing of others"
            )
        self._strata = strata_of(self._cluster_of, reference.strata)
        self.df = degrees_of_freedom(self._strata)

    def side(self, runs: Sequence[_Answers]) -> tuple[list[float], NDArray[np.float64]]:
        """The score of each run, and (R, draws) resampled ones.

        Raises:
            UserError: some resampled test set has no pixel that counts.
        """
        counts = [sum_by_cluster(run.counts, self._cluster_of) for run in runs]
        drawn = bootstrap_scores(counts, self._strata, self._score, self._draws, self._seed)
        if not np.isfinite(drawn).all():
            raise UserError(f"{runs[0].where}: too few of its images have pixels that count")
        return [float(self._score(run.counts.sum(axis=0))) for run in runs], drawn


def _mcnemar(group: Sequence[_Answers], baseline: Sequence[_Answers]) -> McNemar | None:
    if len(group) != 1 or len(baseline) != 1:
        return None
    own, base = group[0].right, baseline[0].right
    if own is None or base is None:
        return None
    only_base, only_own = int((base & ~own).sum()), int((own & ~base).sum())
    return McNemar(only_base, only_own, mcnemar_exact(only_base, only_own), mcnemar_mid_p(only_base, only_own))

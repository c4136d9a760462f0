"""The leaderboard: one row per run group, ranked by the task's objective on the evaluated split."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streetlab.compare.grouping import FinishedRun, RunGroup
from streetlab.compare.pairwise import PairedComparison
from streetlab.metrics.catalogue import CATALOGUE, Place
from streetlab.metrics.statistics import wilson_interval

COSTS = (
    "best_epoch",
    "parameters",
    "checkpoint_bytes",
    "gmacs",
    "peak_memory_bytes",
    "minutes",
    "images_per_second",
)
_OVER_FOLDS: dict[str, Callable[[Sequence[float]], float]] = {"minutes": sum, "peak_memory_bytes": max}
"""What a cost of several folds is; the mean where it is not named."""

MEASURES = tuple(metric.key for metric in CATALOGUE if Place.LEADERBOARD in metric.shown)


@dataclass(frozen=True)
class RunResult:
    """The numbers of one run, or of its folds together; None where the record has none.

    Args:
        objective, accuracy: on the evaluated split; the accuracy is of photos, or of pixels in segmentation.
        interval: Wilson's 95% interval of the accuracy; classification only.
        n: photos or images tested.
        costs: `COSTS` in the units epoch (from 1), count, bytes, 10⁹ multiply-adds, bytes, minutes, 1/s; of folds
            the minutes are the sum, the memory is the largest, the others are means.
        measures: `MEASURES` and the metrics that the run's config adds, on the evaluated split; far_errors are photos,
            far_error_share is of all photos.
    """

    seed: int | None
    objective: float | None
    accuracy: float | None
    interval: tuple[float, float] | None
    n: int | None
    costs: dict[str, float | None]
    measures: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Row:
    """One run group, its results in the order of its runs, and what is certain about them.

    Args:
        rank: from 1; equal means share one.
        group, results: the runs and each one's numbers.
        interval: 95% of the objective: one run's over the photos, or the mean's over five seeds and more; None
            where it was not estimated.
        verdict: `baseline`, or better, worse, equivalent, not enough data; empty where nothing was tested.
        comparison: the test against the baseline that the verdict is from.
    """

    rank: int
    group: RunGroup
    results: tuple[RunResult, ...]
    interval: tuple[float, float] | None = None
    verdict: str = ""
    comparison: PairedComparison | None = None

    @property
    def split(self) -> str:
        """The split that the numbers are from; a selection has one."""
        return self.group.runs[0].eval_split

    @property
    def accuracy_key(self) -> str:
        """The key of the accuracy in metrics.json: `accuracy`, or `pixel_accuracy` in segmentation."""
        return accuracy_key(self.group.runs[0])

    def mean(self, what: str) -> float | None:
        """Mean over the runs that have `objective`, `accuracy`, one of `COSTS` or `MEASURES`; None where none has."""
        values = self.values(what)
        return statistics.fmean(values) if values else None

    def spread(self, what: str) -> float | None:
        """Sample standard deviation over seeds; None below two."""
        values = self.values(what)
        return statistics.stdev(values) if len(values) > 1 else None

    def values(self, what: str) -> list[float]:
        """Each run's value, without the missing."""
        each = [_value(result, what) for result in self.results]
        return [value for value in each if value is not None]


def rank_groups(groups: Sequence[RunGroup], metric: str, mode: str) -> list[Row]:
    """Rank by the mean over seeds of `metric` on the evaluated split, the best first; groups without it come last.

    Args:
        metric: a key of the split's numbers, such as macro_f1.
        mode: max or min.
    """
    sign = -1.0 if mode == "max" else 1.0
    rows = [Row(0, group, tuple(run_result(run, metric) for run in group.runs)) for group in groups]
    order = []
    for row in rows:
        mean = row.mean("objective")
        order.append((mean is None, sign * (mean or 0.0), row.group.name))
    ordered = [row for _, row in sorted(zip(order, rows, strict=True), key=lambda pair: pair[0])]
    means = [row.mean("objective") for row in ordered]
    ranks: dict[float | None, int] = {}
    return [
        replace(row, rank=ranks.setdefault(mean, position))
        for position, (mean, row) in enumerate(zip(means, ordered, strict=True), start=1)
    ]


def accuracy_key(run: FinishedRun) -> str:
    """The key of the run's share of right answers, which are photos or pixels."""
    return run.spec.accuracy


def run_result(run: FinishedRun, metric: str) -> RunResult:
    """Read one run's numbers off its metrics.json and model.json, or those of its folds."""
    test = run.test
    accuracy, n = _number(test.get(accuracy_key(run))), test.get("n")
    # pixels are no independent trials, so only photos that carry one label each get an interval
    photos = not run.spec.per_pixel
    interval = wilson_interval(round(accuracy * n), n) if photos and n and accuracy is not None else None
    return RunResult(
        seed=run.seed,
        objective=_number(test.get(metric)),
        accuracy=accuracy,
        interval=interval,
        n=n,
        costs={key: _cost(run, key) for key in COSTS},
        measures={key: _number(test.get(key)) for key in (*MEASURES, *run.added)},
    )


def table_rows(rows: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    """The leaderboard for CSV: raw numbers, one row per group, `;` between the seeds' values.

    Columns of scores begin with the evaluated split: `test_macro_f1`, `val_miou`.
    """
    measures = (*MEASURES, *added_targets(rows))
    measured = [key for key in measures if key != metric and any(row.values(key) for row in rows)]
    return [
        {
            "rank": row.rank,
            "name": row.group.name,
            "seeds": ";".join("" if seed is None else str(seed) for seed in row.group.seeds),
            "runs": len(row.group.records),
            "folds": len(row.group.runs[0].by_fold) or None,
            "split_hash": row.group.runs[0].status.get("split_hash"),
            f"{row.split}_n": next((r.n for r in row.results if r.n is not None), None),
            f"{row.split}_{metric}": row.mean("objective"),
            f"{row.split}_{metric}_sd": row.spread("objective"),
            f"{row.split}_{metric}_by_seed": _each(row, "objective"),
            **_ends(f"{row.split}_{metric}", row.interval),
            **_accuracy_columns(row, metric),
            **{f"{row.split}_{key}": row.mean(key) for key in measured},
            **_comparison_columns(row),
            **{key: row.mean(key) for key in COSTS},
            "records": ";".join(str(record.path) for record in row.group.records),
        }
        for row in rows
    ]


def added_targets(rows: Sequence[Row]) -> dict[str, str]:
    """The targets of all metrics that the rows' configs add to the catalogue's, by name."""
    return {name: target for row in rows for run in row.group.runs for name, target in run.added.items()}


def _accuracy_columns(row: Row, metric: str) -> dict[str, Any]:
    if metric == row.accuracy_key:
        return {}
    column = f"{row.split}_{row.accuracy_key}"
    lone = row.results[0].interval if len(row.results) == 1 else None
    return {
        column: row.mean("accuracy"),
        f"{column}_sd": row.spread("accuracy"),
        f"{column}_by_seed": _each(row, "accuracy"),
        **(_ends(column, lone) if row.accuracy_key == "accuracy" else {}),
    }


def _comparison_columns(row: Row) -> dict[str, Any]:
    """The test against the baseline, every number of it; empty where there was none."""
    tested = row.comparison
    mcnemar = tested.mcnemar if tested else None
    low, high = tested.interval if tested else (None, None)
    return {
        "verdict": row.verdict,
        "difference": tested.difference if tested else None,
        "low95": low,
        "high95": high,
        "p": tested.p_value if tested else None,
        "p_holm": tested.p_adjusted if tested else None,
        "mcnemar_p": mcnemar.p_exact if mcnemar else None,
        "mcnemar_mid_p": mcnemar.p_mid if mcnemar else None,
        "smallest_difference": tested.smallest_difference if tested else None,
    }


def _ends(column: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{column}_low95": low, f"{column}_high95": high}


def _each(row: Row, what: str) -> str:
    return ";".join("" if (v := getattr(r, what)) is None else f"{v:.6g}" for r in row.results)


def _value(result: RunResult, what: str) -> float | None:
    for numbers in (result.costs, result.measures):
        if what in numbers:
            return numbers[what]
    return getattr(result, what, None)  # a metric that another run's config adds


def _cost(run: FinishedRun, key: str) -> float | None:
    """One of `COSTS`; None where it is unknown of a fold."""
    each = [_cost_of_one(member, key) for member in run.members]
    known = [value for value in each if value is not None]
    if len(known) < len(each):
        return None
    return _OVER_FOLDS.get(key, statistics.fmean)(known)


def _cost_of_one(run: FinishedRun, key: str) -> float | None:
    if key == "minutes":
        return _minutes(run.model)
    return _number((run.metrics if key == "best_epoch" else run.model).get(key))


def _minutes(model: dict[str, Any]) -> float | None:
    total = _number(model.get("seconds_total"))
    epochs = model.get("seconds_per_epoch")
    if total is None and isinstance(epochs, list) and epochs:
        total = sum(epochs)
    return None if total is None else total / 60


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

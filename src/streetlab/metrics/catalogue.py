"""The catalogue of metrics: one entry each, with its titles, its function, and the places that show it.

Records, logs, terminal, sweeps, leaderboards, statistics, curves and exports iterate over it, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION, TASKS
from streetlab.metrics.statistics import agreement, calibration, scores

_CALIBRATED = "_calibrated"
_NO_METRICS = (
    "absent_classes", "best_epoch", "checkpoint_bytes", "confusion", "costs", "expected_precision", "gmacs",
    "images_per_second", "interval", "measures", "minutes", "n", "objective", "parameters", "peak_memory_bytes",
    "per_category", "per_class", "per_group", "pixels", "resolution", "seed", "temperature", "temperature_from",
)  # fmt: skip
"""Names in metrics.json and in leaderboards that are no metric's."""
_ERRORS = ("error", "errors", "error_share")
"""Last words of numbers outside the catalogue that are better where they are smaller."""


class Place(Flag):
    """The places that show a metric.

    - EPOCH: logged for val in every epoch, so that an objective may name it
    - EPOCH_LINE: in the line that the terminal and train.log show of an epoch
    - TERMINAL: in the table at the end of a run
    - REPORT: in the totals of report.txt
    - HEADLINE: in a sweep's summary and an export's report; tested between runs, for which it needs `from_counts`
    - LEADERBOARD: in the CSV of a comparison; in its second table where the entry has a `column`
    """

    EPOCH = auto()
    EPOCH_LINE = auto()
    TERMINAL = auto()
    REPORT = auto()
    HEADLINE = auto()
    LEADERBOARD = auto()


_NOWHERE = Place(0)


@dataclass(frozen=True)
class Metric:
    """One number of a split.

    Args:
        key: its name in metrics.json and, after `val/`, in logs.
        task: whose number it is.
        title: its heading in tables.
        shown: where it stands.
        words: its name in sentences and figures; the key's words where it is empty.
        mode: max or min, whichever is better.
        from_counts: (..., K, 3) counts (see `statistics.scores`) to (...) values.
        from_matrix: a (K, K) matrix of an ordinal label space to the value, None where it is undefined.
        from_probabilities: (N, K) probabilities and (N,) labels to the value.
        column: its header in the leaderboard's second table; empty where it has no column there.
        note: the sentence below that table.
        share: key of the same number as a share, shown behind it in brackets.
        trivial: the value that says nothing and is not shown.
    """

    key: str
    task: str
    title: str
    shown: Place = _NOWHERE
    words: str = ""
    mode: Literal["max", "min"] = "max"
    from_counts: scores.Score | None = None
    from_matrix: Callable[[NDArray[np.int64]], float | None] | None = None
    from_probabilities: Callable[[ArrayLike, ArrayLike], float] | None = None
    column: str = ""
    note: str = ""
    share: str = ""
    trivial: float | None = None

    @property
    def calibrated_key(self) -> str:
        """The key of the same number of calibrated probabilities."""
        return self.key + _CALIBRATED

    @property
    def under_temperature(self) -> Metric:
        """The same number of calibrated probabilities, which has no column of its own."""
        return replace(self, key=self.calibrated_key, shown=Place.LEADERBOARD, from_probabilities=None, column="")


_LOSS = Metric("loss", CLASSIFICATION, "loss", Place.EPOCH_LINE | Place.TERMINAL, mode="min")
_ECE = Metric(
    "ece",
    CLASSIFICATION,
    "ECE",
    Place.TERMINAL | Place.LEADERBOARD,
    mode="min",
    from_probabilities=calibration.adaptive_ece,
    column="ECE",
    note="ECE: expected calibration error in bins of equal mass, 0 to 1; → after temperature scaling fitted on val.",
)
_ECE_BY_CHANCE = Metric(
    "ece_by_chance",
    CLASSIFICATION,
    "ECE by chance",
    Place.LEADERBOARD,
    from_probabilities=lambda probabilities, labels: calibration.adaptive_ece_by_chance(probabilities),
    column="ECE by chance",
    note="ECE by chance: what a perfectly calibrated classifier would show on so few photos.",
)
_BRIER = Metric(
    "brier",
    CLASSIFICATION,
    "Brier score",
    Place.LEADERBOARD,
    mode="min",
    from_probabilities=calibration.brier_score,
    column="Brier",
    note="Brier: squared error of the probabilities, summed over the classes, 0 to 2; → as for ECE.",
)
_NLL = Metric(
    "nll",
    CLASSIFICATION,
    "negative log-likelihood",
    Place.LEADERBOARD,
    mode="min",
    from_probabilities=calibration.negative_log_likelihood,
)

CATALOGUE = (
    Metric(
        "accuracy",
        CLASSIFICATION,
        "accuracy",
        Place.EPOCH | Place.EPOCH_LINE | Place.TERMINAL | Place.REPORT | Place.HEADLINE,
        from_counts=scores.accuracy,
    ),
    Metric(
        "macro_f1",
        CLASSIFICATION,
        "macro-F1",
        Place.EPOCH | Place.EPOCH_LINE | Place.TERMINAL | Place.REPORT | Place.HEADLINE,
        words="macro F1",
        from_counts=scores.macro_f1,
    ),
    _LOSS,
    Metric(
        "quadratic_weighted_kappa",
        CLASSIFICATION,
        "kappa (quadratic)",
        Place.TERMINAL | Place.LEADERBOARD,
        from_matrix=agreement.quadratic_weighted_kappa,
        column="kappa",
        note="Kappa: agreement with the labels, weighted by the squared distance of the classes; 0 by chance, "
        "1 in full.",
    ),
    Metric(
        "far_errors",
        CLASSIFICATION,
        "far errors",
        Place.TERMINAL | Place.LEADERBOARD,
        mode="min",
        from_matrix=agreement.far_errors,
        column="far errors",
        note="Far errors: photos two or more classes off, as Clean ↔ Litter is.",
        share="far_error_share",
    ),
    Metric(
        "far_error_share",
        CLASSIFICATION,
        "share of far errors",
        Place.LEADERBOARD,
        mode="min",
        from_matrix=agreement.far_error_share,
    ),
    _ECE,
    _ECE_BY_CHANCE,
    _ECE.under_temperature,
    _ECE_BY_CHANCE.under_temperature,
    _BRIER,
    _BRIER.under_temperature,
    _NLL,
    _NLL.under_temperature,
    Metric(
        "accuracy_ceiling",
        CLASSIFICATION,
        "accuracy ceiling",
        Place.TERMINAL | Place.LEADERBOARD,
        column="ceiling",
        note="Ceiling: the highest accuracy that is possible where photos of one duplicate group have different "
        "labels.",
        trivial=1.0,
    ),
    Metric(
        "miou",
        SEGMENTATION,
        "mIoU",
        Place.EPOCH | Place.EPOCH_LINE | Place.TERMINAL | Place.REPORT | Place.HEADLINE,
        words="mIoU",
        from_counts=scores.miou,
    ),
    Metric(
        "pixel_accuracy",
        SEGMENTATION,
        "pixel accuracy",
        Place.EPOCH | Place.TERMINAL | Place.REPORT | Place.HEADLINE,
        from_counts=scores.accuracy,
    ),
    Metric(
        "mean_accuracy",
        SEGMENTATION,
        "mean accuracy",
        Place.EPOCH | Place.TERMINAL | Place.REPORT,
        from_counts=scores.mean_recall,
    ),
    Metric("category_miou", SEGMENTATION, "category mIoU", Place.REPORT),
    Metric(
        "frequency_weighted_iou",
        SEGMENTATION,
        "frequency-weighted IoU",
        Place.EPOCH | Place.REPORT,
        from_counts=scores.frequency_weighted_iou,
    ),
    Metric("boundary_f", SEGMENTATION, "boundary F", Place.TERMINAL | Place.REPORT),
    Metric("boundary_iou", SEGMENTATION, "boundary IoU", Place.REPORT, words="boundary IoU"),
    replace(_LOSS, task=SEGMENTATION),
)
BY_KEY = {metric.key: metric for metric in CATALOGUE}


def metrics_of(task: str, place: Place = _NOWHERE) -> list[Metric]:
    """The task's metrics that stand in that place, in the catalogue's order; all where none is named."""
    return [metric for metric in CATALOGUE if metric.task == task and place in metric.shown]


def objectives(task: str) -> tuple[str, ...]:
    """Keys of the metrics that an objective may name, the task's own first."""
    keys = [metric.key for metric in metrics_of(task, Place.EPOCH)]
    return tuple(sorted(keys, key=lambda key: key != TASKS[task].objective))


def is_added_name(name: str) -> bool:
    """Check that a config may call a metric so that the catalogue does not hold."""
    return name not in BY_KEY and name not in _NO_METRICS


def added_metrics(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the metrics that a run's config adds to the catalogue's."""
    return tuple(str(name) for name, node in (config.get("metrics") or {}).items() if node is not None)


def resampled(task: str) -> dict[str, scores.Score]:
    """Functions of the metrics that can be resampled photo by photo, the task's objective first."""
    functions = {metric.key: metric.from_counts for metric in metrics_of(task, Place.HEADLINE) if metric.from_counts}
    return {key: functions[key] for key in objectives(task) if key in functions}


def values_from_counts(task: str, counts: NDArray[np.float64]) -> dict[str, float]:
    """Every metric of the task that follows from (K, 3) counts of one split, by its key."""
    return {metric.key: float(metric.from_counts(counts)) for metric in metrics_of(task) if metric.from_counts}


def words(key: str) -> str:
    """The name for sentences: `macro_f1` → `macro F1`; of a number outside the catalogue its key's words."""
    return (BY_KEY[key].words if key in BY_KEY else "") or key.replace("_", " ")


def mode_of(key: str) -> str:
    """`max` or `min`, whichever is better; a number outside the catalogue goes by its last word."""
    if key in BY_KEY:
        return BY_KEY[key].mode
    less = {metric.key for metric in CATALOGUE if metric.mode == "min"}.union(_ERRORS)
    return "min" if f"_{key.removesuffix(_CALIBRATED)}".endswith(tuple(f"_{word}" for word in less)) else "max"

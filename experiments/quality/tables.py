"""The tables of this study: each preset's test scores with intervals, folds joined, and the confusion matrix.

`python experiments/quality/tables.py RUNS [PNG]` reads the finished runs below RUNS. Runs that differ in their fold
alone are one row; the intervals resample photos by groups of copies. Where a preset has several seeds a second table
gives the mean of its seeds, whose intervals resample the photos too, each with the answers of all seeds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from streetlab.datasets.labels import LabelSpace
from streetlab.metrics.predictions import Predictions, join_predictions
from streetlab.metrics.statistics.agreement import far_errors, quadratic_weighted_kappa
from streetlab.metrics.statistics.bootstrap import bootstrap_scores, cluster_photos, strata_of
from streetlab.metrics.statistics.intervals import wilson_interval
from streetlab.metrics.statistics.scores import accuracy, macro_f1, photo_counts, sum_by_cluster
from streetlab.plots.confusion import confusion_matrix
from streetlab.plots.figure import png
from streetlab.records.record import RunRecord, find_runs

DRAWS = 10_000
COLUMNS = (
    "preset", "trained on", "seed", "n", "accuracy [95%]", "Wilson", "macro-F1 [95%]", "κ", "Clean ↔ Litter",
    "minutes", "hash", "commit",
)  # fmt: skip


def main(folder: str, picture: str | None = None) -> None:
    seeds: dict[tuple[str, str], list[Predictions]] = defaultdict(list)
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for records in configurations(Path(folder)):
        tested = join_predictions([record.predictions("test") for record in records])
        print(row(records, tested))
        seeds[records[0].status["choices"]["experiment"], trained_on(records[0])].append(tested)
        if picture is not None and len(records) > 1:
            labels = LabelSpace.from_dict(records[0].metrics["label_space"])
            title = "Out of fold"
            Path(picture).write_bytes(png(confusion_matrix(matrix(tested), labels, title)))
    print("\n| preset | trained on | seeds | n | mean accuracy [95%] | half-width, points |\n|---|---|---|---|---|---|")
    for (preset, part), answers in seeds.items():
        if len(answers) > 1:
            print(f"| `{preset}` | {part} | {mean_of_seeds(answers)} |")


def mean_of_seeds(answers: list[Predictions]) -> str:
    """The cells of the second table for the answers of several seeds to the same photos."""
    first = answers[0]
    if any(list(one.ids) != list(first.ids) for one in answers):
        raise SystemExit("the seeds were tested on different photos")
    clusters = cluster_photos(first.groups)
    counts = [sum_by_cluster(photo_counts(one.labels, one.predictions, len(one.names)), clusters) for one in answers]
    draws = bootstrap_scores(counts, strata_of(clusters, first.labels), accuracy, DRAWS, seed=0)
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    mean = np.mean([float(accuracy(one.sum(axis=0))) for one in counts])
    return f"{len(answers)} | {len(first)} | {mean:.3f} [{low:.3f}, {high:.3f}] | {100 * (high - low) / 2:.1f}"


def configurations(folder: Path) -> list[list[RunRecord]]:
    """Finished runs; those of one preset, training set and seed together, in the order of their folds."""
    together = defaultdict(list)
    for record in find_runs(folder):
        if record.fault() is None:
            together[record.status["choices"]["experiment"], trained_on(record), record.config["seed"]].append(record)
    return [
        sorted(records, key=lambda run: run.config["dataset"]["fold"] or 0) for _, records in sorted(together.items())
    ]


def trained_on(record: RunRecord) -> str:
    folds = record.config["dataset"]["folds"]
    photos = sum(entry.split == "train" for entry in record.photos() or ())
    return f"{f'{folds} folds' if folds else f'{photos} photos'}, {epochs_of(record)} epochs"


def epochs_of(record: RunRecord) -> int:
    regime = record.config["regime"]
    return regime["epochs"] or sum(phase["epochs"] for phase in regime["phases"])


def row(records: list[RunRecord], tested: Predictions) -> str:
    clusters = cluster_photos(tested.groups)
    counts = sum_by_cluster(photo_counts(tested.labels, tested.predictions, len(tested.names)), clusters)
    strata = strata_of(clusters, tested.labels)
    scores = []
    for score in (accuracy, macro_f1):
        (draws,) = bootstrap_scores([counts], strata, score, DRAWS, seed=0)
        low, high = np.quantile(draws, (0.025, 0.975))
        scores.append(f"{float(score(counts.sum(axis=0))):.3f} [{low:.3f}, {high:.3f}]")
    right, square = int((tested.predictions == tested.labels).sum()), matrix(tested)
    wilson = " – ".join(f"{bound:.3f}" for bound in wilson_interval(right, len(tested)))
    minutes = sum(record.status["seconds"] for record in records) / 60
    far, first = far_errors(square), records[0].status
    cells = [
        f"`{first['choices']['experiment']}`", trained_on(records[0]), records[0].config["seed"], len(tested),
        scores[0], wilson, scores[1], f"{quadratic_weighted_kappa(square):.3f}", f"{far} ({far / len(tested):.1%})",
        f"{minutes:.0f}", first["config_hash"][:8], first["git"]["commit"][:7],
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def matrix(tested: Predictions) -> np.ndarray:
    """(K, K) counts, truth by prediction."""
    size = len(tested.names)
    return np.bincount(size * tested.labels + tested.predictions, minlength=size**2).reshape(size, size)


if __name__ == "__main__":
    main(*sys.argv[1:])

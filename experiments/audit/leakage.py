"""The tables of this study: what copies across splits are worth in points of accuracy.

python experiments/audit/leakage.py AUDIT ORIGINAL LEAK_FREE [OUT_OF_FOLD]

AUDIT is the folder of `streetlab audit`; the others hold the runs on the original split, on the audit's and on its
folds. Runs of one preset are averaged over seeds, photo by photo.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from streetlab.metrics.predictions import Predictions, join_predictions
from streetlab.metrics.statistics.bootstrap import bootstrap_scores, cluster_photos, strata_of
from streetlab.metrics.statistics.scores import Score, accuracy, macro_f1, photo_counts, sum_by_cluster
from streetlab.records.record import RunRecord, find_runs

DRAWS = 10_000
SCORES: dict[str, Score] = {"accuracy": accuracy, "macro-F1": macro_f1}


@dataclass(frozen=True)
class Estimate:
    """Each seed's score, and the variance that the choice of photos gives their mean."""

    values: NDArray[np.float64]
    photo_variance: float

    @property
    def mean(self) -> float:
        return float(self.values.mean())


def main() -> None:
    audit, original, leak_free = (Path(word) for word in sys.argv[1:4])
    groups = photo_groups(audit)
    leaked = {kind: leaked_photos(audit, kind) for kind in ("exact", "any")}
    runs = {name: by_preset(folder) for name, folder in (("original", original), ("leak-free", leak_free))}
    print("| preset | score | original split | leak-free split | difference [95%, over photos and seeds] |")
    print("|---|---|---|---|---|")
    for preset in runs["original"]:
        for score in SCORES:
            sides = [estimate(tests(runs[name][preset]), groups, SCORES[score]) for name in runs]
            cells = " | ".join(f"{side.mean:.3f} ± {side.values.std(ddof=1):.3f}" for side in sides)
            print(f"| `{preset}` | {score} | {cells} | {difference(*sides)} |")
    print("\n| preset, original split | copy in train or val | photos | with | without | difference [95%] |")
    print("|---|---|---|---|---|---|")
    for preset, members in runs["original"].items():
        for kind, ids in leaked.items():
            parts = [[only(test, ids, inside) for test in tests(members)] for inside in (True, False)]
            sides = [estimate(part, groups, accuracy) for part in parts]
            count = f"{len(parts[0][0])} + {len(parts[1][0])}"
            shown = " | ".join(f"{side.mean:.3f}" for side in sides)
            print(f"| `{preset}` | {kind} | {count} | {shown} | {difference(*sides, same_runs=True)} |")
    if len(sys.argv) > 4:
        same_photos(runs["original"], by_preset(Path(sys.argv[4])), leaked["any"])


def same_photos(
    original: dict[str, list[RunRecord]], folds: dict[str, list[RunRecord]], leaked: frozenset[str]
) -> None:
    """The photos of the original test split again, now by networks that saw no copy of them."""
    print("\n| preset | the same photos | photos | original split | out of fold |")
    print("|---|---|---|---|---|")
    for preset in folds:
        joined = join_predictions(tests(folds[preset]))
        for what, inside in (("with a copy", True), ("without", False)):
            parts = [only(test, leaked, inside) for test in tests(original[preset])]
            known = frozenset(parts[0].ids) & frozenset(joined.ids)
            shown = [share_right([only(part, known, True) for part in parts]), share_right([only(joined, known, True)])]
            print(f"| `{preset}` | {what} | {len(known)} | {shown[0]:.3f} | {shown[1]:.3f} |")


def by_preset(folder: Path) -> dict[str, list[RunRecord]]:
    """The completed runs of each preset, ordered by seed and fold."""
    found: dict[str, list[RunRecord]] = defaultdict(list)
    for record in find_runs(folder):
        if record.fault() is None:
            found[record.status["choices"]["experiment"]].append(record)
    for members in found.values():
        members.sort(key=lambda run: (run.config["seed"], run.config["dataset"].get("fold") or 0))
    return dict(found)


def tests(records: Sequence[RunRecord]) -> list[Predictions]:
    return [record.predictions("test") for record in records]


def photo_groups(audit: Path) -> dict[str, str]:
    """Photo → group of copies; a photo that is not here has none."""
    with (audit / "findings.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["group"] for row in csv.DictReader(file) if row["id"] and row["group"]}


def leaked_photos(audit: Path, kind: str) -> frozenset[str]:
    """The test photos with a copy of that kind, exact or any, in train or val."""
    with (audit / "findings.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "duplicate_across_splits"]
    return frozenset(
        row["id"]
        for row in rows
        if row["split"] == "test" and (kind == "any" or row["detail"].startswith("exact copy of"))
    )


def only(part: Predictions, ids: frozenset[str], inside: bool) -> Predictions:
    kept = [i for i, identity in enumerate(part.ids) if (identity in ids) == inside]
    return Predictions(
        [part.ids[i] for i in kept],
        [part.groups[i] for i in kept],
        part.labels[kept],
        part.predictions[kept],
        part.probabilities[kept],
        part.names,
    )


def share_right(parts: Sequence[Predictions]) -> float:
    return float(np.mean([(part.predictions == part.labels).mean() for part in parts]))


def estimate(parts: Sequence[Predictions], groups: dict[str, str], score: Score) -> Estimate:
    """Mean over seeds; the photos' variance is that of the mean over seeds, with copies drawn together."""
    first = parts[0]
    clusters = cluster_photos([groups.get(identity, "") for identity in first.ids])
    strata = strata_of(clusters, first.labels)
    counts = [sum_by_cluster(photo_counts(part.labels, part.predictions, len(part.names)), clusters) for part in parts]
    draws = bootstrap_scores(counts, strata, score, DRAWS, seed=0)
    values = np.array([float(score(count.sum(axis=0))) for count in counts])
    return Estimate(values, float(draws.mean(axis=0).var(ddof=1)))


def difference(first: Estimate, second: Estimate, same_runs: bool = False) -> str:
    """First minus second, of two independent sets of photos; degrees of freedom by Welch and Satterthwaite."""
    value = first.mean - second.mean
    parts = [first.values - second.values] if same_runs else [first.values, second.values]
    of_seeds = [(float(part.var(ddof=1)) / len(part), len(part) - 1) for part in parts]
    variance = first.photo_variance + second.photo_variance + sum(part for part, _ in of_seeds)
    free = variance**2 / sum(part**2 / degrees for part, degrees in of_seeds)
    half = stats.t.ppf(0.975, free) * variance**0.5
    return f"{value:+.3f} [{value - half:+.3f}, {value + half:+.3f}]"


if __name__ == "__main__":
    main()

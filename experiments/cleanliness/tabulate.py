"""The tables of this study from its run records: each seed, mean, and test photos with and without an exact twin.

python experiments/cleanliness/tabulate.py outputs/cleanliness ../shared/data/street_cleanliness
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from streetlab.datasets.splits import content_hash
from streetlab.records.record import RunRecord, find_runs


def main() -> None:
    records, root = find_runs(Path(sys.argv[1])), Path(sys.argv[2])
    twins = exact_twins(root)
    by_experiment: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.fault() is None:
            by_experiment[record.status["choices"]["experiment"]].append(record)
    print(f"{len(twins)} of the test photos have a byte-identical twin in train or val.\n")
    print("| preset | seeds | test accuracy, mean (each seed) | macro-F1, mean (each seed) | with twin | without |")
    print("|---|---|---|---|---|---|")
    for name, runs in sorted(by_experiment.items(), key=lambda item: -mean(item[1], "accuracy")):
        runs.sort(key=lambda run: run.config["seed"])
        seeds = ", ".join(str(run.config["seed"]) for run in runs)
        cells = [f"{mean(runs, metric):.3f} ({each(runs, metric)})" for metric in ("accuracy", "macro_f1")]
        halves = [f"{share(runs, twins, which):.3f}" for which in (True, False)]
        print(f"| `{name}` | {seeds} | {' | '.join(cells)} | {' | '.join(halves)} |")
    print("\n| preset | epochs | seconds per epoch (median) | minutes | images/s in training | commit |")
    print("|---|---|---|---|---|---|")
    for name, runs in sorted(by_experiment.items()):
        seconds = [np.median(run.model["seconds_per_epoch"]) for run in runs]
        minutes = [run.model["seconds_total"] / 60 for run in runs]
        rates = [run.model["images_per_second"] for run in runs]
        commits = sorted({run.status["git"]["commit"][:7] for run in runs})
        epochs = len(runs[0].model["seconds_per_epoch"])
        print(
            f"| `{name}` | {epochs} | {np.mean(seconds):.1f} | {np.mean(minutes):.1f} | {np.mean(rates):.1f} "
            f"| {', '.join(commits)} |"
        )


def exact_twins(root: Path) -> set[str]:
    """Ids of test photos whose bytes also lie in train or val."""
    seen = {content_hash(path) for split in ("train", "val") for path in (root / split).rglob("*") if path.is_file()}
    test = (path for path in (root / "test").rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in test if content_hash(path) in seen}


def mean(runs: list[RunRecord], metric: str) -> float:
    return float(np.mean([run.metrics["test"][metric] for run in runs]))


def each(runs: list[RunRecord], metric: str) -> str:
    return ", ".join(f"{run.metrics['test'][metric]:.3f}" for run in runs)


def share(runs: list[RunRecord], twins: set[str], with_twin: bool) -> float:
    """Share of right answers among the test photos with, or without, a twin; all seeds alike."""
    right = []
    for run in runs:
        test = run.predictions("test")
        chosen = np.array([(name in twins) == with_twin for name in test.ids])
        right.append((test.labels == test.predictions)[chosen].mean())
    return float(np.mean(right))


if __name__ == "__main__":
    main()

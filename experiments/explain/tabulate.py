"""The tables of this study: how faithful the maps of each preset's runs are, and how much of them lies on litter.

python experiments/explain/tabulate.py RUNS

RUNS is a folder of runs, each explained once by `streetlab explain`. A cell is the mean over seeds ± their standard
deviation; the last columns are the first preset minus the second, with a 95% interval over seeds (Welch's t).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from streetlab.records.record import find_runs

Metrics = Mapping[str, Any]


def main() -> None:
    found = explained(Path(sys.argv[1]))
    presets = sorted(found, reverse=True)
    for preset in presets:
        first = found[preset][0]["scores"]
        n = first["faithfulness"]["n"], first["faithfulness"]["road"]["n"]
        print(f"{preset}: {len(found[preset])} seeds, n = {n[0]} photos, ROAD on {n[1]}")
    print(f"\n| score | {' | '.join(f'`{preset}`' for preset in presets)} | difference |")
    print("|" + "---|" * (len(presets) + 2))
    for title, read in rows(found[presets[0]][0]).items():
        values = [np.array([read(metrics) for metrics in found[preset]]) for preset in presets]
        cells = " | ".join(f"{each.mean():+.3f} ± {each.std(ddof=1):.3f}" for each in values)
        print(f"| {title} | {cells} | {difference(*values[:2]) if len(values) > 1 else ''} |")


def explained(folder: Path) -> dict[str, list[Metrics]]:
    """The explanations of completed runs by preset, ordered by seed."""
    found: dict[str, list[tuple[int, Metrics]]] = defaultdict(list)
    for record in find_runs(folder):
        for path in sorted(record.path.glob("explain/**/metrics.json")):
            metrics = json.loads(path.read_text(encoding="utf-8"))
            if metrics["state"] == "completed":
                found[record.status["choices"]["experiment"]].append((record.config["seed"], metrics))
    return {preset: [metrics for _, metrics in sorted(runs, key=lambda run: run[0])] for preset, runs in found.items()}


def rows(example: Metrics) -> dict[str, Callable[[Metrics], float]]:
    """Title → what reads the number from an explanation."""
    titles = {
        "deletion": "deletion (lower is better)",
        "insertion": "insertion (higher is better)",
        "road": "ROAD (higher is better)",
    }
    read: dict[str, Callable[[Metrics], float]] = {}
    for curve, title in titles.items():
        for other in ("random", "center"):
            read[f"{title}, map minus {other}"] = lambda metrics, curve=curve, other=other: metrics["scores"][
                "faithfulness"
            ][curve][f"cam_minus_{other}"]["mean"]
    read["maps after resetting the network: rank correlation"] = lambda metrics: metrics["scores"]["sanity"]["final"][
        "mean"
    ]
    for label, scores in ((example["scores"]["localization"] or {}).get("by_class") or {}).items():
        if not scores["n"]:
            continue
        for score in ("energy", "lift", "pointing"):
            read[f"{label}, n = {scores['n']}: {score}"] = lambda metrics, label=label, score=score: metrics["scores"][
                "localization"
            ]["by_class"][label][score]["cam"]["mean"]
    return read


def difference(first: np.ndarray, second: np.ndarray) -> str:
    result = stats.ttest_ind(first, second, equal_var=False)
    low, high = result.confidence_interval(0.95)
    return f"{first.mean() - second.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()

"""Rank runs by hand: pandas reads the records, scipy gives intervals over seeds, tests against the best, Holm.

The usual way: a table of scores, one for each run, grouped by configuration; Welch's t test between groups.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy import stats


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("records", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for folder in sorted(path.parent for path in options.records.glob("*/config.yaml")):
        if json.loads((folder / "status.json").read_text())["state"] != "completed":
            continue
        config = yaml.load((folder / "config.yaml").read_text(), yaml.CSafeLoader)
        seed = config.pop("seed")
        answers = pd.read_csv(folder / "predictions.csv")
        answers = answers[answers["split"] == "test"]
        rows.append({"config": json.dumps(config, sort_keys=True), "seed": seed, "macro_f1": macro_f1(answers)})
    runs = pd.DataFrame(rows)
    board = runs.groupby("config")["macro_f1"].agg(["mean", "std", "count"]).sort_values("mean", ascending=False)
    half = stats.t.ppf(0.975, board["count"] - 1) * board["std"] / np.sqrt(board["count"])
    board["low"], board["high"] = board["mean"] - half, board["mean"] + half
    best = runs.loc[runs["config"] == board.index[0], "macro_f1"]
    tested = board.index[1:21]
    p_values = [
        stats.ttest_ind(runs.loc[runs["config"] == name, "macro_f1"], best, equal_var=False).pvalue for name in tested
    ]
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(order), 0, -1)), 1.0)
    board.loc[tested, "p"] = adjusted
    board["verdict"] = np.where(board["p"] < 0.05, "worse", "not shown")
    options.output.mkdir(parents=True, exist_ok=True)
    board.to_csv(options.output / "leaderboard.csv")
    numbers = {"means": list(board["mean"]), "intervals": board[["low", "high"]].to_numpy().tolist()}
    print(json.dumps(numbers | {"worse": int((board["p"] < 0.05).sum()), "tested": len(tested)}))


def macro_f1(answers: pd.DataFrame) -> float:
    """Mean F1 over the classes."""
    table = pd.crosstab(answers["label"], answers["prediction"])
    classes = sorted({*table.index, *table.columns})
    counts = table.reindex(index=classes, columns=classes, fill_value=0).to_numpy()
    hits = np.diag(counts)
    return float(np.mean(2 * hits / np.maximum(counts.sum(0) + counts.sum(1), 1)))


if __name__ == "__main__":
    main()

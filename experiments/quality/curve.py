"""Draw test accuracy against the number of training photos, with and without ImageNet weights.

`python experiments/quality/curve.py RUNS PNG` reads the finished runs on single splits below RUNS and prints the
points: the mean over seeds, its 95% interval by Student's t where there are three seeds or more, and the seeds. Runs
from scratch with more epochs than the preset's, which make up for fewer steps in each, are a line of their own.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullLocator
from scipy.stats import sem, t

from streetlab.plots.figure import bare, legend_beside_heading, new_figure, png, series_color
from streetlab.records.record import RunRecord, find_runs

PRETRAINED = "cleanliness_efficientnet_lite0_plus"
FROM_SCRATCH = "cleanliness_efficientnet_lite0_from_scratch_plus"
LINES = ("ImageNet weights", "from scratch, equal steps", "from scratch, equal epochs")
ALL_PHOTOS, EPOCHS = 508, 40


def main(folder: str, picture: str) -> None:
    points: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in LINES}
    for record in find_runs(Path(folder)):
        if record.fault() is None and not record.config["dataset"]["folds"]:
            photos = sum(entry.split == "train" for entry in record.photos() or ())
            tested = record.predictions("test")
            for name in lines_of(record, photos):
                points[name][photos].append(float((tested.predictions == tested.labels).mean()))

    figure = new_figure(7, 3.8)
    axes = figure.add_subplot()
    bare(axes)
    ticks = sorted(set().union(*points.values()))
    print("| weights | photos | test accuracy | seeds |\n|---|---|---|---|")
    for number, (name, accuracies) in enumerate(points.items()):
        sizes = sorted(accuracies)
        means = [float(np.mean(accuracies[size])) for size in sizes]
        bands = [interval(accuracies[size]) for size in sizes]
        color = series_color(number)
        axes.plot(sizes, means, "o-", color=color, label=name, markersize=5)
        lows, highs = zip(*bands, strict=True)
        axes.fill_between(sizes, lows, highs, color=color, alpha=0.15, linewidth=0)
        for size, mean, (low, high) in zip(sizes, means, bands, strict=True):
            seeds = " ".join(f"{accuracy:.3f}" for accuracy in sorted(accuracies[size]))
            print(f"| {name} | {size} | {mean:.3f} [{low:.3f}, {high:.3f}] | {seeds} |")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.set_xlabel("photos to train on")
    axes.set_ylabel("accuracy on 109 test photos")
    legend_beside_heading(axes)
    Path(picture).write_bytes(png(figure))


def lines_of(record: RunRecord, photos: int) -> list[str]:
    """The lines that a run is a point of; with all photos, equal epochs are equal steps."""
    preset = record.status["choices"]["experiment"]
    if preset != FROM_SCRATCH:
        return [LINES[0]] if preset == PRETRAINED else []
    if photos == ALL_PHOTOS:
        return list(LINES[1:])
    return [LINES[1] if record.config["regime"]["epochs"] > EPOCHS else LINES[2]]


def interval(accuracies: list[float]) -> tuple[float, float]:
    """The 95% interval of a mean over seeds; with fewer than three seeds their least and most."""
    if len(accuracies) < 3:
        return min(accuracies), max(accuracies)
    half = float(t.ppf(0.975, len(accuracies) - 1) * sem(accuracies))
    return float(np.mean(accuracies)) - half, float(np.mean(accuracies)) + half


if __name__ == "__main__":
    main(*sys.argv[1:])

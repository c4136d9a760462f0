"""Tables and the plot of a segmentation run: epochs, IoU per class and recording, intervals by frame and by recording.

    python experiments/segmentation_cpu/tabulate.py RUN [--plot camvid.png]

RUN is a completed run's folder. Where its confusions.npz is from before recordings were kept in it, the frames' names
tell them (CamVid: what stands before the first `_`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from streetlab.datasets.pairs import recording_of
from streetlab.metrics.confusions import Confusions
from streetlab.metrics.segmentation import summarize_groups
from streetlab.metrics.statistics.bootstrap import bootstrap_scores, cluster_photos, degrees_of_freedom, strata_of
from streetlab.metrics.statistics.intervals import score_interval
from streetlab.metrics.statistics.scores import miou, sum_by_cluster
from streetlab.plots.figure import png
from streetlab.records.record import RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    record = RunRecord(options.run)
    minutes = record.model["seconds_total"] / 60
    print(f"{record.name}: best epoch {record.metrics['best_epoch']}, {minutes:.1f} minutes of training")
    for split in ("val", "test"):
        images = record.confusions(split)
        groups = [recording_of(name.rpartition("/")[2]) for name in images.ids]
        print(f"{split}: n = {len(images)}, mIoU {record.metrics[split]['miou']:.3f}")
        for name, clusters in (("frame", [""] * len(images)), ("recording", groups)):
            print(f"  95% interval by {name}: {interval(images, clusters)}")
        for name, scores in summarize_groups(images.matrices, groups).items():
            print(f"  {name}: n = {scores['n']}, mIoU {scores['miou']:.3f}")
    for name, scores in record.metrics["test"]["per_class"].items():
        print(f"| {name} | {scores['iou']:.3f} |")
    if options.plot:
        options.plot.write_bytes(png(draw(record)))


def interval(images: Confusions, groups: list[str]) -> str:
    """Of the mIoU, where images of one group are one piece of evidence."""
    clusters = cluster_photos(groups)
    if len(np.unique(clusters)) < 2:
        return "none (one recording)"
    strata = strata_of(clusters, images.strata)
    counts = sum_by_cluster(images.counts, clusters)
    drawn = bootstrap_scores([counts], strata, miou, 2000, 0)[0]
    score = float(miou(images.counts.sum(axis=0)))
    low, high = score_interval(score, float(drawn.std(ddof=1)), len(strata), degrees_of_freedom(strata))
    return f"{low:.3f} to {high:.3f} ({len(strata)} clusters)"


def draw(record: RunRecord) -> Figure:
    """Val mIoU by epoch, and the IoU of each class on test beside val."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    curve, bars = figure.subplots(1, 2, width_ratios=(2, 3))
    history = [row for row in record.history() if row.get("val/miou") is not None]
    curve.plot([row["epoch"] for row in history], [row["val/miou"] for row in history], color="#1f6f8b")
    curve.set(xlabel="epoch", ylabel="val mIoU", ylim=(0, 1))
    names = list(record.metrics["test"]["per_class"])
    places = np.arange(len(names))
    for offset, split, color in ((-0.2, "val", "#b8c4c8"), (0.2, "test", "#1f6f8b")):
        values = [record.metrics[split]["per_class"][name]["iou"] or 0 for name in names]
        bars.bar(places + offset, values, 0.4, color=color, label=f"{split}, n = {record.metrics[split]['n']}")
    bars.set_xticks(places, names, rotation=45, ha="right")
    bars.set(ylabel="IoU", ylim=(0, 1))
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (curve, bars):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()

"""Draw coverage.png and half_widths.png from coverage.json: python experiments/survey/draw.py."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
from simulate import GRADED, MODELS

from streetlab.metrics.statistics.intervals import wilson_interval

HERE = Path(__file__).parent
COLOURS = {"human": "#0072b2", "ppi": "#d55e00"}
LABELS = {"human": "people alone", "ppi": "prediction-powered (PPI++)"}


def main() -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    stored = json.loads((HERE / "coverage.json").read_text())
    worlds, numbers = stored["worlds"], stored["numbers"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, model in zip(axes, MODELS, strict=True):
        axis.axhspan(93, 97, color="0.9", lw=0)
        for estimator, colour in COLOURS.items():
            shares = [numbers[f"{model}: {estimator}, {g}"]["coverage"] for g in GRADED]
            ends = [wilson_interval(round(share * worlds), worlds) for share in shares]
            axis.vlines(GRADED, *([100 * end[side] for end in ends] for side in (0, 1)), color=colour, lw=1)
            axis.plot(GRADED, [100 * share for share in shares], "o-", ms=4, color=colour, label=LABELS[estimator])
        axis.set(xscale="log", title=f"classifier {model}", xlabel="graded streets", ylim=(85, 100))
        axis.set_xticks(GRADED, map(str, GRADED), minor=False, fontsize=7)
        axis.minorticks_off()
    axes[0].set_ylabel("intervals that hold the truth, %")
    axes[0].legend(frameon=False, loc="lower right")
    figure.savefig(HERE / "coverage.png", dpi=110)

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, model in zip(axes, MODELS, strict=True):
        for estimator, colour in COLOURS.items():
            widths = [numbers[f"{model}: {estimator}, {g}"]["half_width"] for g in GRADED]
            axis.plot(GRADED, widths, "o-", ms=4, color=colour, label=LABELS[estimator])
        axis.set(xscale="log", yscale="log", title=f"classifier {model}", xlabel="graded streets")
        axis.set_xticks(GRADED, map(str, GRADED), fontsize=7)
        axis.set_yticks((2, 3, 5, 10, 20, 30), ("2", "3", "5", "10", "20", "30"))
        axis.minorticks_off()
    axes[0].set_ylabel("half-width of the 95% interval, points")
    axes[0].legend(frameon=False)
    figure.savefig(HERE / "half_widths.png", dpi=110)


if __name__ == "__main__":
    main()

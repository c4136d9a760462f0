"""Training curves: loss, objective and learning rate over epochs, of one run or of several overlaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from streetlab.datasets.task_spec import TASKS
from streetlab.metrics.catalogue import words
from streetlab.plots.figure import ACCENT, INK, MUTED, SERIES, bare, heading, legend_beside_heading, new_figure

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Curve:
    """One run in an overlay: its name, its line's colour and its history."""

    name: str
    color: str
    history: History


def per_epoch(history: History, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs (E,) and the mean (E,) of what each logged under `column`; epochs without it are left out."""
    collected: dict[int, list[float]] = {}
    for row in history:
        value, epoch = row.get(column), row.get("epoch")
        if value is not None and epoch is not None:
            collected.setdefault(int(epoch), []).append(float(value))
    epochs = sorted(collected)
    return np.array(epochs, dtype=float), np.array([np.mean(collected[epoch]) for epoch in epochs])


def training_curves(
    history: History,
    phases: Sequence[tuple[str, int]] = (),
    objective: str = "macro_f1",
    best_epoch: int | None = None,
    title: str = "",
) -> Figure:
    """Loss, objective with accuracy, and learning rate (log) above each other on one axis of epochs.

    Args:
        history: rows of metrics.csv; `epoch` counts from 1, a missing or None cell was not logged.
        phases: (name, first epoch) of each phase; a boundary is drawn where a phase after the first begins.
        objective: the metric that selected the epoch, without its `val/`.
        best_epoch: the epoch that was kept, counted from 1.
        title: stands above the first panel.
    """
    figure = new_figure(8, 7.4)
    loss, score, rate = panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.6))
    for axes in panels:
        bare(axes)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=12, color=INK, parse_math=False)
    _lines(loss, history, [("train/loss", "train", MUTED), ("val/loss", "val", ACCENT)])
    heading(loss, "Loss")
    known = [spec.accuracy for spec in TASKS.values()]
    accuracy = next((key for key in known if any(f"val/{key}" in row for row in history)), known[0])
    _lines(score, history, _score_lines(objective, accuracy))
    scores = [] if objective in ("loss", accuracy) else [words(objective), words(accuracy)]
    heading(score, _capital(" and ".join(scores) or words(accuracy)))
    _lines(rate, history, [("lr", "", INK)], drawstyle="steps-mid")
    heading(rate, "Learning rate")
    if any(np.any(np.asarray(line.get_ydata()) > 0) for line in rate.lines):
        rate.set_yscale("log")
        rate.minorticks_off()
    rate.set_xlabel("epoch", color=MUTED, fontsize=9)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _mark_phases(panels, phases)
    _mark_best(panels, history, objective, best_epoch)
    return figure


def _score_lines(objective: str, accuracy: str) -> list[tuple[str, str, str]]:
    """The lines of the middle panel: the objective, and accuracy where it is not the objective itself."""
    lines = [(f"train/{accuracy}", f"train {words(accuracy)}", MUTED)]
    if objective not in ("loss", accuracy):
        lines.append((f"val/{objective}", f"val {words(objective)}", ACCENT))
        lines.append((f"val/{accuracy}", f"val {words(accuracy)}", SERIES[1]))
    else:
        lines.append((f"val/{accuracy}", f"val {words(accuracy)}", ACCENT if objective == accuracy else SERIES[1]))
    return lines


def overlaid_curves(curves: Sequence[Curve], column: str) -> Figure:
    """`val/<column>` of several runs over epochs; the page's legend explains the colours."""
    figure = new_figure(6, 3.9)
    axes = figure.add_subplot()
    bare(axes)
    for curve in curves:
        epochs, values = per_epoch(curve.history, f"val/{column}")
        if len(epochs):
            axes.plot(epochs, values, color=curve.color, linewidth=1.6, **_marker(epochs))
    heading(axes, f"Validation {words(column)}")
    axes.set_xlabel("epoch", color=MUTED, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if not axes.lines:
        _nothing(axes)
    return figure


def _lines(axes: Axes, history: History, lines: Sequence[tuple[str, str, str]], **style: Any) -> None:
    """Draw each logged column of (column, label, colour)."""
    for column, label, color in lines:
        epochs, values = per_epoch(history, column)
        if len(epochs):
            axes.plot(epochs, values, color=color, label=label, linewidth=1.8, **style, **_marker(epochs))
    if not axes.lines:
        _nothing(axes)
    elif any(label for _, label, _ in lines):
        legend_beside_heading(axes)


def _marker(epochs: NDArray[np.float64]) -> dict[str, Any]:
    """Marker of a curve: a dot for a single epoch, which has no line to see."""
    return {"marker": "o", "markersize": 4} if len(epochs) == 1 else {}


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=9)
    axes.set_yticks([])


def _mark_phases(panels: Sequence[Axes], phases: Sequence[tuple[str, int]]) -> None:
    if len(phases) < 2:
        return
    names = panels[-1]
    low, high = names.get_ylim()
    # room for the names above the line of the learning rate
    names.set_ylim(low, high * (high / low) ** 0.45 if names.get_yscale() == "log" else high + 0.45 * (high - low))
    left = names.get_xlim()[0]
    for position, (name, first) in enumerate(phases):
        # a boundary lies between two epochs; the first phase begins with the axis
        edge = first - 0.5 if position else left
        if position:
            for axes in panels:
                axes.axvline(edge, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        names.annotate(
            name, (edge, 1), xycoords=("data", "axes fraction"), xytext=(4, -3), textcoords="offset points",
            va="top", ha="left", fontsize=9, color=MUTED, parse_math=False,
        )  # fmt: skip
    names.set_xlim(left=left)


def _mark_best(panels: Sequence[Axes], history: History, objective: str, best_epoch: int | None) -> None:
    if best_epoch is None:
        return
    for axes in panels:
        axes.axvline(best_epoch, color=ACCENT, linewidth=5, alpha=0.14, zorder=0.5)
    epochs, values = per_epoch(history, f"val/{objective}")
    at_best = values[epochs == best_epoch]
    if len(at_best):
        falling = objective == "loss"
        axes = panels[0] if falling else panels[1]
        axes.plot([best_epoch], at_best, "o", color=ACCENT, markersize=6, markeredgecolor="white", zorder=4)
        # a falling curve leaves the top free, a rising one the bottom
        left_half = best_epoch <= (epochs.min() + epochs.max()) / 2
        axes.annotate(
            f"best {at_best[0]:.3f} · epoch {best_epoch}", (best_epoch, 0.95 if falling else 0.05),
            xycoords=("data", "axes fraction"),
            xytext=(7 if left_half else -7, 0), textcoords="offset points",
            va="top" if falling else "bottom", ha="left" if left_half else "right",
            fontsize=9, fontweight="bold", color=ACCENT,
        )  # fmt: skip


def _capital(text: str) -> str:
    """Capitalise a heading, except where the first word has its own capitals: mIoU."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.islower() else text

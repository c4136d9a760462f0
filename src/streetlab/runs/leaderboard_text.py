"""The leaderboard as people read it: cells with units, a Markdown table, tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from streetlab.runs.leaderboard import Row, RunResult

DASH = "–"
METRIC_WORDS = {"macro_f1": "macro F1", "miou": "mIoU"}
COST_HEADERS = {
    "best_epoch": "best epoch",
    "parameters": "params (M)",
    "checkpoint_bytes": "checkpoint (MB)",
    "gmacs": "GMACs",
    "peak_memory_bytes": "peak memory (MB)",
    "minutes": "minutes",
    "images_per_second": "images/s",
}
_SCALE = {"parameters": 1e-6, "checkpoint_bytes": 1e-6, "peak_memory_bytes": 1e-6}
_DIGITS = {"best_epoch": 0, "peak_memory_bytes": 0, "images_per_second": 0}


def words(metric: str) -> str:
    """`macro_f1` → `macro F1`."""
    return METRIC_WORDS.get(metric, metric.replace("_", " "))


def quality_headers(row: Row, metric: str) -> list[str]:
    """Headers of the columns that `quality_cells` fills, the same for every row of a leaderboard."""
    score = ["seeds", f"{row.split} {words(metric)}"]
    return score if metric == row.accuracy_key else [*score, f"{row.split} {words(row.accuracy_key)}"]


def quality_cells(row: Row, metric: str, between: str = " ") -> list[str]:
    """Seeds and n of seeds, objective with each seed's value, accuracy with interval or each seed's value."""
    seeds = ", ".join(DASH if seed is None else str(seed) for seed in row.group.seeds)
    count = len(row.results)
    cells = [seeds if count == 1 else f"{count} ({seeds})"]
    cells += [score_cell(row, "objective", between)] if metric != row.accuracy_key else []
    return [*cells, accuracy_cell(row, between)]


def score_cell(row: Row, what: str, between: str = " ") -> str:
    """`0.831 ± 0.012 (0.825 0.822 0.845)`: mean, standard deviation over seeds, each seed's value.

    `between` parts the mean from the seeds' values.
    """
    mean, spread = row.mean(what), row.spread(what)
    if mean is None:
        return DASH
    if spread is None:
        return f"{mean:.3f}"
    each = " ".join(DASH if (v := getattr(r, what)) is None else f"{v:.3f}" for r in row.results)
    return f"{mean:.3f} ± {spread:.3f}{between}({each})"


def accuracy_cell(row: Row, between: str = " ") -> str:
    """A single run's accuracy with its Wilson interval; several seeds as in `score_cell`."""
    if len(row.results) > 1:
        return score_cell(row, "accuracy", between)
    return run_accuracy(row.results[0])


def run_accuracy(result: RunResult) -> str:
    """`0.886 [0.814, 0.932]`, the 95% interval for n photos."""
    if result.accuracy is None:
        return DASH
    if result.interval is None:
        return f"{result.accuracy:.3f}"
    return f"{result.accuracy:.3f} [{result.interval[0]:.3f}, {result.interval[1]:.3f}]"


def cost_cell(key: str, value: float | None) -> str:
    """A cost in the unit of its header."""
    if value is None:
        return DASH
    scaled = value * _SCALE.get(key, 1.0)
    digits = _DIGITS.get(key, 1 if scaled >= 10 else 2)
    # a mean epoch over seeds is rarely whole
    return f"{scaled:.1f}" if key == "best_epoch" and scaled != int(scaled) else f"{scaled:.{digits}f}"


def cost_cells(row: Row) -> list[str]:
    """The cells under `COST_HEADERS`, means over the runs."""
    return [cost_cell(key, row.mean(key)) for key in COST_HEADERS]


def markdown(rows: Sequence[Row], metric: str, heading: str, notes: Sequence[str]) -> str:
    """The leaderboard as a Markdown table below a heading, the notes as a list after it."""
    headers = ["#", "run", *quality_headers(rows[0], metric), *COST_HEADERS.values()]
    lines = [f"# {_plain(heading)}", "", _line(headers), _line(["---"] * len(headers))]
    for row in rows:
        lines.append(_line([str(row.rank), row.group.name, *quality_cells(row, metric), *cost_cells(row)]))
    lines += ["", *(f"- {_plain(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def terminal_tables(rows: Sequence[Row], metric: str, width: int) -> list[Table]:
    """Rich tables: one where the terminal is wide enough, else quality and cost below each other."""
    quality, costs = quality_headers(rows[0], metric), list(COST_HEADERS.values())
    if width >= 170:
        wide = _table(["run", *quality, *costs])
        for row in rows:
            _add(wide, row, [_name(row), *quality_cells(row, metric, "\n"), *cost_cells(row)])
        return [wide]
    first, second = _table(["run", *quality]), _table(costs)
    for row in rows:
        _add(first, row, [_name(row), *quality_cells(row, metric, "\n")])
        _add(second, row, cost_cells(row))
    return [first, second]


def _name(row: Row) -> str:
    return "\n".join(row.group.parts)


def _table(headers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("#", justify="right")
    for header in headers:
        table.add_column(header, justify="left" if header == "run" else "right", overflow="fold")
    return table


def _add(table: Table, row: Row, cells: Sequence[str]) -> None:
    # Text, not str: brackets in names and intervals are no markup
    table.add_row(str(row.rank), *map(Text, cells))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """One line without anything that Markdown renders as HTML."""
    return " ".join(text.split()).replace("<", "&lt;").replace("`", "'")

"""The leaderboard as people read it: cells with units, a Markdown table, tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from streetlab.compare.leaderboard import Row, RunResult
from streetlab.io.markdown import plain, table
from streetlab.metrics.catalogue import words

DASH = "–"
_LONGEST_NAME = 24
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


def score(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None else f"{value:.3f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """`[0.814, 0.932]`; empty for None."""
    return "" if interval is None else f"[{score(interval[0])}, {score(interval[1])}]"


def quality_headers(row: Row, metric: str) -> list[str]:
    """Headers of the columns that `quality_cells` fills, the same for every row of a leaderboard."""
    headers = ["seeds", f"{row.split} {words(metric)}"]
    return headers if metric == row.accuracy_key else [*headers, f"{row.split} {words(row.accuracy_key)}"]


def quality_cells(row: Row, metric: str, between: str = " ") -> list[str]:
    """Seeds and n of seeds, objective with its interval and each seed's value, accuracy likewise."""
    seeds = ", ".join(DASH if seed is None else str(seed) for seed in row.group.seeds)
    count = len(row.results)
    cells = [seeds if count == 1 else f"{count} ({seeds})", score_cell(row, "objective", between)]
    return cells if metric == row.accuracy_key else [*cells, accuracy_cell(row, between)]


def score_cell(row: Row, what: str, between: str = " ") -> str:
    """`0.831 ± 0.012 (0.825 0.822 0.845)`: mean, standard deviation over seeds, each seed's value.

    The objective's interval, where there is one, follows the mean in brackets. `between` parts the three.
    """
    mean, spread = row.mean(what), row.spread(what)
    if mean is None:
        return DASH
    cell = score(mean) if spread is None else f"{score(mean)} ± {score(spread)}"
    if what == "objective" and row.interval is not None:
        cell += f"{between}{interval_text(row.interval)}"
    each = " ".join(score(getattr(r, what)) for r in row.results)
    return cell if spread is None else f"{cell}{between}({each})"


def against_header(baseline: Row) -> str:
    """`against resnet18`; a long name is told by its rank."""
    name = baseline.group.name
    return f"against {name if len(name) <= _LONGEST_NAME else f'#{baseline.rank}'}"


def against_cell(row: Row, between: str = " ") -> str:
    """`better +0.047 [+0.012, +0.083]`: verdict, difference to the baseline, its 95% interval."""
    return row.verdict or DASH if row.comparison is None else f"{row.verdict}{between}{difference_cell(row)}"


def difference_cell(row: Row) -> str:
    """`+0.047 [+0.012, +0.083]`: difference to the baseline and its 95% interval."""
    if row.comparison is None:
        return DASH
    low, high = row.comparison.interval
    return f"{row.comparison.difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def accuracy_cell(row: Row, between: str = " ") -> str:
    """A single run's accuracy with its Wilson interval; several seeds as in `score_cell`."""
    if len(row.results) > 1:
        return score_cell(row, "accuracy", between)
    return run_accuracy(row.results[0])


def run_accuracy(result: RunResult) -> str:
    """`0.886 [0.814, 0.932]`, the 95% interval for n photos."""
    return f"{score(result.accuracy)} {interval_text(result.interval)}".rstrip()


def cost_in_unit(key: str, value: float) -> float:
    """A cost in the unit of its header: millions of parameters, MB."""
    return value * _SCALE.get(key, 1.0)


def cost_cell(key: str, value: float | None) -> str:
    """A cost in the unit of its header."""
    if value is None:
        return DASH
    scaled = cost_in_unit(key, value)
    digits = _DIGITS.get(key, 1 if scaled >= 10 else 2)
    # a mean epoch over seeds is rarely whole
    return f"{scaled:.1f}" if key == "best_epoch" and scaled != int(scaled) else f"{scaled:.{digits}f}"


def cost_cells(row: Row) -> list[str]:
    """The cells under `COST_HEADERS`, means over the runs."""
    return [cost_cell(key, row.mean(key)) for key in COST_HEADERS]


def markdown(rows: Sequence[Row], baseline: Row, metric: str, heading: str, notes: Sequence[str]) -> str:
    """The leaderboard as a Markdown table below a heading, the notes as a list after it."""
    against = [against_header(baseline)] if any(row.comparison for row in rows) else []
    headers = ["#", "run", *quality_headers(rows[0], metric), *against, *COST_HEADERS.values()]
    cells = []
    for row in rows:
        tested = [against_cell(row)] if against else []
        cells.append([str(row.rank), row.group.name, *quality_cells(row, metric), *tested, *cost_cells(row)])
    lines = [f"# {plain(heading)}", "", *table(headers, cells)]
    lines += ["", *(f"- {plain(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def terminal_tables(rows: Sequence[Row], baseline: Row, metric: str, width: int) -> list[Table]:
    """Rich tables: one where the terminal is wide enough, else quality, cost and tests below each other."""
    quality, costs = quality_headers(rows[0], metric), list(COST_HEADERS.values())
    against = [against_header(baseline)] if any(row.comparison for row in rows) else []
    if width >= 170 + 25 * len(against):
        wide = new_table(["run", *quality, *against, *costs])
        for row in rows:
            tested = [against_cell(row, "\n")] if against else []
            add_row(wide, row, [_name(row), *quality_cells(row, metric, "\n"), *tested, *cost_cells(row)])
        return [wide]
    first, second = new_table(["run", *quality]), new_table(costs)
    third = new_table([*against, "difference [95%]", "p (Holm)"])
    for row in rows:
        add_row(first, row, [_name(row), *quality_cells(row, metric, "\n")])
        add_row(second, row, cost_cells(row))
        if row.verdict:
            add_row(third, row, [row.verdict, difference_cell(row), _p_cell(row)])
    return [first, second, third] if against else [first, second]


def new_table(headers: Sequence[str]) -> Table:
    """A table without lines; its first column is the rank."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("#", justify="right")
    for header in headers:
        table.add_column(header, justify="left" if header == "run" else "right", overflow="fold")
    return table


def add_row(table: Table, row: Row, cells: Sequence[str]) -> None:
    """The row's rank and the cells after it."""
    # Text, not str: brackets in names and intervals are no markup
    table.add_row(str(row.rank), *map(Text, cells))


def _p_cell(row: Row) -> str:
    if row.comparison is None:
        return DASH
    return "< 0.001" if row.comparison.p_adjusted < 0.001 else score(row.comparison.p_adjusted)


def _name(row: Row) -> str:
    return "\n".join(row.group.parts)

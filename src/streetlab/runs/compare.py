"""The compare command: finished records in; a leaderboard as table, CSV, Markdown and HTML page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from streetlab.errors import UserError
from streetlab.runs import files
from streetlab.runs.compare_page import compare_page
from streetlab.runs.leaderboard import Row, rank_groups, table_rows
from streetlab.runs.leaderboard_text import markdown, terminal_tables, words
from streetlab.runs.record import RunRecord
from streetlab.runs.selection import Selection, limit_key, select


@dataclass(frozen=True, eq=False)
class Comparison:
    """A ranked selection with the sentences that belong under its table."""

    selection: Selection
    rows: tuple[Row, ...]
    heading: str
    notes: tuple[str, ...]


def run(cfg: DictConfig) -> None:
    """Entry point of `streetlab compare`: `runs` (a path or a list of paths) and `output` (a folder or null).

    The last line printed is the page's path.

    Raises:
        UserError: see `selection.select`; or the output cannot be written.
    """
    paths = run_paths(OmegaConf.to_container(cfg, resolve=True))
    output = Path(cfg.output).expanduser() if cfg.get("output") else paths[0] / "compare"
    comparison = compare(paths)
    # before anything is printed, so that `| head` cannot cost the files
    page = write_comparison(comparison, output)
    console = Console()
    for table in terminal_tables(comparison.rows, comparison.selection.metric, console.width):
        console.print(table)
        console.print()
    for note in comparison.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    for record, reason in comparison.selection.skipped:
        console.print(Text(_skipped_line(record, reason), style="yellow"), soft_wrap=True)
    # print, not the console: a path is one line, however narrow the terminal
    print(page)


def run_paths(config: Any) -> list[Path]:
    """The key `runs` as paths.

    Raises:
        UserError: it is empty or neither a path nor a list of paths.
    """
    value = config.get("runs")
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) and item for item in listed):
        raise UserError(f"runs: found {value!r}; allowed is a folder or a list of folders, runs=DIR or runs=[A,B]")
    return [Path(item).expanduser() for item in listed]


def compare(paths: Sequence[Path]) -> Comparison:
    """Select, group and rank the records at or below `paths`."""
    selection = select(paths)
    rows = tuple(rank_groups(selection.groups, selection.metric, selection.mode))
    return Comparison(selection, rows, _heading(selection), tuple(_notes(selection)))


def write_comparison(comparison: Comparison, output: Path) -> Path:
    """Write leaderboard.csv, leaderboard.md and compare.html to `output`; return the page's path."""
    metric = comparison.selection.metric
    table = table_rows(comparison.rows, metric)
    files.write_csv(output / "leaderboard.csv", table, list(table[0]))
    skipped = [_skipped_line(*pair) for pair in comparison.selection.skipped]
    text = markdown(comparison.rows, metric, comparison.heading, [*comparison.notes, *skipped])
    files.write_text(output / "leaderboard.md", text)
    html = compare_page(comparison.rows, comparison.selection, comparison.heading, comparison.notes, output)
    return files.write_text(output / "compare.html", html)


def _heading(selection: Selection) -> str:
    runs = selection.runs
    dataset = runs[0].settings.get("dataset.name", "unknown data")
    return f"{dataset}: {_count(len(selection.groups), 'configuration')}, {_count(len(runs), 'run')}"


def _notes(selection: Selection) -> list[str]:
    first = selection.runs[0]
    better = "higher" if selection.mode == "max" else "lower"
    unit = "photos" if selection.task == "classification" else "images"
    notes = [
        f"Ranked by {words(selection.metric)} on the {first.eval_split} split, "
        f"n = {first.test.get('n', '–')} {unit}; {better} is better."
    ]
    if isinstance(size := first.test.get("resolution"), list):
        notes.append(f"Measured against masks of {size[0]} × {size[1]} pixels (height × width).")
    if selection.task == "classification":
        notes.append("Brackets: Wilson's 95% interval of one run's accuracy over the photos.")
    counts = [len(group.runs) for group in selection.groups]
    if max(counts) > 1:
        notes.append("Over seeds: mean ± sample standard deviation, then each seed's value.")
    if min(counts) < 5:
        notes.append("Fewer than five seeds: the order of close configurations can be chance.")
    if all(not run.status.get("split_hash") for run in selection.runs):
        notes.append(
            f"The records name no split hash, so it is not certain that the {first.eval_split} {unit} are the same."
        )
    if isinstance(first.settings.get(limit_key(first)), int):
        notes.append(f"These are debugging runs: only a part of the {first.eval_split} split was used.")
    return notes


def _skipped_line(record: RunRecord, reason: str) -> str:
    return f"skipped {record.path}: {reason}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"

"""The compare command: finished records in; a leaderboard as table, CSV, Markdown and HTML page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from streetlab.compare.leaderboard import Row, rank_groups, table_rows
from streetlab.compare.leaderboard_text import markdown, terminal_tables
from streetlab.compare.measures import measures_markdown, measures_terminal
from streetlab.compare.notes import notes, sentences
from streetlab.compare.options import DEFAULTS, Options, options_of, run_paths
from streetlab.compare.page import compare_page
from streetlab.compare.select import Selection, folds_text, select
from streetlab.compare.verdicts import Verdicts, judge
from streetlab.config import plain
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.io.frames import data_frame
from streetlab.records.record import RunRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Comparison:
    """A ranked and tested selection with the sentences that belong under its table.

    Attributes:
        page: the HTML page, where it was written.
    """

    selection: Selection
    verdicts: Verdicts
    options: Options
    heading: str
    notes: tuple[str, ...]
    page: Path | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The leaderboard."""
        return self.verdicts.rows

    def to_pandas(self) -> pd.DataFrame:
        """The leaderboard with the columns of leaderboard.csv, one row for each configuration."""
        return data_frame(table_rows(self.rows, self.selection.metric))


def run(cfg: DictConfig) -> None:
    """Entry point of `streetlab compare`; conf/compare.yaml says what the keys are for.

    The last line printed is the page's path.

    Raises:
        UserError: a key has a value that it cannot take; see `compare`; or the output cannot be written.
    """
    # all is written before anything is printed, so that `| head` cannot cost the files
    comparison = perform(cfg)
    console = Console()
    selection, verdicts = comparison.selection, comparison.verdicts
    best = comparison.options.most_tested
    shown = [row for row in verdicts.rows if row.rank <= best or row is verdicts.baseline]
    tables = terminal_tables(shown, verdicts.baseline, selection.metric, console.width)
    for table in [*tables, *measures_terminal(shown)]:
        console.print(table)
        console.print()
    if hidden := len(verdicts.rows) - len(shown):
        note = f"{hidden} more configurations are in leaderboard.md; most_tested={len(verdicts.rows)} prints them too"
        console.print(Text(note, style="dim"), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    for record, reason in selection.skipped:
        console.print(Text(_skipped_line(record, reason), style="yellow"), soft_wrap=True)
    # print, not the console: a path is one line, however narrow the terminal
    print(one_line(str(comparison.page)))


def perform(cfg: DictConfig) -> Comparison:
    """Compare as the config asks, and write the files."""
    config: dict[str, Any] = plain(cfg)
    paths, options = run_paths(config), options_of(config)
    output = Path(cfg.output).expanduser() if cfg.get("output") else paths[0] / "compare"
    comparison = compare(paths, options)
    return replace(comparison, page=write_comparison(comparison, output))


def compare(paths: Sequence[Path], options: Options = DEFAULTS) -> Comparison:
    """Select, group, rank and test the records at or below `paths`.

    Raises:
        UserError: see `selection.select` and `compare_verdicts.judge`.
    """
    selection = select(paths, options.objective, options.different_splits)
    rows = rank_groups(selection.groups, selection.metric, selection.mode)
    verdicts = judge(rows, selection, options.baseline, options.delta, options.most_tested)
    return Comparison(selection, verdicts, options, _heading(selection), tuple(notes(selection, verdicts, options)))


def write_comparison(comparison: Comparison, output: Path) -> Path:
    """Write leaderboard.csv, leaderboard.md and compare.html to `output`; return the page's path."""
    selection, verdicts = comparison.selection, comparison.verdicts
    table = table_rows(verdicts.rows, selection.metric)
    files.write_csv(output / "leaderboard.csv", table, list(table[0]))
    skipped = [_skipped_line(*pair) for pair in selection.skipped]
    below = [*sentences(verdicts), *comparison.notes, *skipped]
    text = markdown(verdicts.rows, verdicts.baseline, selection.metric, comparison.heading, below)
    files.write_text(output / "leaderboard.md", text + measures_markdown(verdicts.rows))
    html = compare_page(comparison.heading, comparison.notes, selection, verdicts, comparison.options, output)
    return files.write_text(output / "compare.html", html)


def _heading(selection: Selection) -> str:
    runs = selection.runs
    dataset = runs[0].settings.get("dataset.name", "unknown data")
    counted = _count(sum(len(group.records) for group in selection.groups), "run")
    (folds, *others) = dict.fromkeys(map(folds_text, runs))
    told = f"{counted} ({folds})" if folds and not others else counted
    return f"{dataset}: {_count(len(selection.groups), 'configuration')}, {told}"


def _skipped_line(record: RunRecord, reason: str) -> str:
    return f"skipped {record.path}: {reason}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"

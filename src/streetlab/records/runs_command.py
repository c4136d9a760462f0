"""`streetlab runs`: list the run records below a folder, and what to type to go on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import one_line
from streetlab.records.overview import RESUMABLE, Overview, overview
from streetlab.records.record import find_runs


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/runs.yaml.

    Raises:
        UserError: there is no such folder.
    """
    folder = records_folder(cfg.runs)
    rows = [overview(record) for record in find_runs(folder)]
    if not rows:
        print(one_line(f"no run records in {folder}; streetlab train makes one"))
        return
    counted = Counter(row.state for row in rows)
    counts = ", ".join(f"{count} {state}" for state, count in counted.items())
    for line in [*table(rows), f"{len(rows)} run{'s' * (len(rows) != 1)}: {counts}", *next_steps(rows, folder)]:
        print(one_line(line))


def records_folder(value: object) -> Path:
    """Return the key `runs` as a folder that is there.

    Raises:
        UserError: it is no text, or there is no such folder; the nearest one is named.
    """
    if not isinstance(value, str) or not value:
        raise UserError(f"runs: found {value!r}; allowed is a folder of runs")
    folder = Path(value).expanduser()
    if not folder.is_dir():
        near = did_you_mean(folder.name, [path.name for path in folder.parent.glob("*") if path.is_dir()])
        hint = "" if near else " (streetlab train makes outputs/)"
        raise UserError(f"runs: {folder} is {'a file' if folder.exists() else 'no folder'}{near}{hint}")
    return folder


def table(rows: Sequence[Overview]) -> list[str]:
    """Return a heading and a line for each run; the path stands last, so that none is cut or wrapped into another."""
    cells: list[tuple[str, ...]] = [("state", "task", "objective", "val", "test", "minutes", "run")]
    for row in rows:
        cells.append((row.state, row.task, row.objective, *row.numbers.values(), str(row.record.path)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_pad(*cell) for cell in zip(range(7), line, widths, strict=True)).rstrip() for line in cells]


def _pad(column: int, text: str, width: int) -> str:
    return text.rjust(width) if column in (3, 4, 5) else text.ljust(width)


def next_steps(rows: Sequence[Overview], folder: Path) -> list[str]:
    """Return lines that say what to type: for each run that is not complete, and for those that are."""
    lines = []
    for row in rows:
        if row.go_on:
            lines += ["", f"# {row.record.path}: {row.state}{': ' * bool(row.reason)}{row.reason}", row.go_on]
        elif row.state in (*RESUMABLE, "damaged"):
            advice = "repeat the streetlab compress that made it" if row.state in RESUMABLE else "it cannot be read"
            lines += ["", f"# {row.record.path}: {row.state}{': ' * bool(row.reason)}{row.reason}; {advice}"]
    completed = [row.record.path for row in rows if row.state == "completed"]
    if completed:
        run_word = shlex.quote(f"run={completed[-1]}")
        lines += ["", f"# {completed[-1]}: completed", f"streetlab predict {run_word} source=PHOTOS"]
        lines += [f"streetlab explain {run_word}"]
    if len(completed) > 1:
        lines += ["", f"# all {len(completed)} completed runs", f"streetlab compare {shlex.quote(f'runs={folder}')}"]
    return lines

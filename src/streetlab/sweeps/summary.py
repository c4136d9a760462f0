"""Summarize a sweep's jobs from its folder: summary.csv, summary.json, summary.md, summary.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streetlab.config.quoting import unquote
from streetlab.errors import UserError, first_line
from streetlab.io import files
from streetlab.io.markdown import plain, table
from streetlab.metrics.catalogue import CATALOGUE, Place
from streetlab.plots.page import link, render
from streetlab.records.process_status import state_now
from streetlab.records.record import RunRecord, find_runs

STATES = ("completed", "running", "failed", "interrupted", "pruned", "killed", "damaged", "unknown")
_SCORES = tuple(metric.key for metric in CATALOGUE if Place.HEADLINE in metric.shown)
_TIMES = ("started", "ended")
_LAST = ("best_epoch", "minutes", "started", "ended", "error")


def summarize(folder: Path) -> list[dict[str, Any]]:
    """One row per record in the sweep's folder, in any state, ordered by the overrides that differ.

    Columns: run, state, one for each override that is not the same in all, the best val objective and the scores
    of the reported split (`test_macro_f1`), best_epoch, minutes, started, ended, error (its first line). What a
    record does not tell is None.
    """
    records = [record for record in find_runs(folder) if record.path.parent == folder]
    asked = [_overrides(record) for record in records]
    keys = dict.fromkeys(key for words in asked for key in words)
    varied = [key for key in keys if len({words.get(key) for words in asked}) > 1]
    rows = []
    for record, words in zip(records, asked, strict=True):
        row = {"run": record.name, "state": state_now(record), **{key: words.get(key) for key in varied}}
        rows.append(row | _numbers(record))
    if len({row["photos"] for row in rows} - {None}) < 2:
        for row in rows:
            del row["photos"]  # all are of the same ones
    rows.sort(key=lambda row: [_natural(row[key]) for key in varied])
    columns = dict.fromkeys(column for row in rows for column in row if column not in _LAST)
    return [{column: row.get(column) for column in (*columns, *_LAST)} for row in rows]


def write_summary(folder: Path) -> list[dict[str, Any]]:
    """Rewrite the four files from the records on disk; returns the rows. No record, no files.

    Raises:
        UserError: they cannot be written.
    """
    rows = summarize(folder)
    if rows:
        files.write_csv(folder / "summary.csv", rows, list(rows[0]))
        files.write_json(folder / "summary.json", {"jobs": rows, "states": count_states(rows)})
        files.write_text(folder / "summary.md", _markdown(folder.name, rows))
        files.write_text(folder / "summary.html", _page(folder, rows))
    return rows


def count_states(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count the jobs in each state, without the states that do not occur."""
    found = Counter(row["state"] for row in rows)
    return {state: found[state] for state in (*STATES, *sorted(set(found) - set(STATES))) if found[state]}


def in_words(rows: Sequence[dict[str, Any]]) -> str:
    """Format counts: `8 runs: 7 completed, 1 failed`."""
    states = ", ".join(f"{count} {state}" for state, count in count_states(rows).items())
    return f"{len(rows)} run{'s' * (len(rows) != 1)}: {states}"


def _natural(value: str | None) -> tuple[int, float, str]:
    """Sorts 9 before 10, numbers before words."""
    try:
        return 0, float(value or ""), ""
    except ValueError:
        return 1, 0.0, value or ""


def _overrides(record: RunRecord) -> dict[str, str]:
    """The overrides of a run, by key."""
    try:
        words = record.overrides
    except UserError:
        return {}
    parts = (word.lstrip("+").partition("=") for word in words)
    return {key: unquote(value) for key, _, value in parts}


def _numbers(record: RunRecord) -> dict[str, Any]:
    try:
        status = record.status
    except UserError as error:
        return {"error": first_line(error), "photos": None}
    row: dict[str, Any] = {key: status.get(key) for key in ("started", "ended")}
    row["error"] = first_line(status.get("error") or "") or None
    row["photos"] = (status.get("photos_hash") or "")[:8] or None
    if status.get("state") != "completed":
        return row
    try:
        metrics, model = record.metrics, record.model
    except UserError as error:
        return row | {"state": "damaged", "error": first_line(error)}
    objective, split = metrics.get("objective") or {}, str(metrics.get("eval_split") or "test")
    if "metric" in objective:
        row[f"val_{objective['metric']}"] = objective.get("best")
    scores = metrics.get(split) or {}
    row |= {f"{split}_{name}": scores[name] for name in _SCORES if name in scores}
    seconds = model.get("seconds_total")
    return row | {"best_epoch": metrics.get("best_epoch"), "minutes": None if seconds is None else seconds / 60}


def _markdown(name: str, rows: Sequence[dict[str, Any]]) -> str:
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    return "\n".join([f"# {plain(name)}", "", in_words(rows), "", *table(columns, cells)]) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


def _time(stamp: str | None) -> str:
    """`2026-11-21 12:42`, in UTC as the record has it."""
    return (stamp or "")[:16].replace("T", " ")


def _page(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    columns = [column for column in rows[0] if column not in ("run", "state")]
    return render(
        "sweep.html",
        title=folder.name,
        compared=(folder / "compare" / "compare.html").is_file(),
        states=count_states(rows),
        columns=columns,
        numeric={column for column in columns if all(isinstance(row[column], int | float | None) for row in rows)},
        rows=[
            {"run": row["run"], "link": link(row["run"] + "/"), "state": row["state"]}
            | {"cells": {column: _time(row[column]) if column in _TIMES else _cell(row[column]) for column in columns}}
            for row in rows
        ],
    )

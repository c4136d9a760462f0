"""Summarize run records in a line each: state, task, objective, minutes, and the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from streetlab.config.quoting import quote, quote_paths, unquote
from streetlab.errors import UserError, first_line
from streetlab.records.process_status import state_now
from streetlab.records.record import RunRecord, now

RESUMABLE = ("failed", "interrupted", "killed")
"""States of a run that the same command goes on with."""


@dataclass(frozen=True)
class Overview:
    """A record in short; what it does not say is empty or None.

    Attributes:
        state: see `state_now`.
        objective: the metric's key.
        best: its best value on val; of a run that is not complete, so far.
        tested: its value on the split that was tested.
        minutes: of the training; of a run that is not complete, from its start to its end or until now.
        reason: first line of the error.
        go_on: command line that goes on with the run.
    """

    record: RunRecord
    state: str
    task: str = ""
    objective: str = ""
    best: float | None = None
    tested: float | None = None
    minutes: float | None = None
    reason: str = ""
    go_on: str = ""

    @property
    def numbers(self) -> dict[str, str]:
        """Scores and minutes as they are shown, in the order of the columns; an empty text for None."""
        shown = {"best": (self.best, 3), "tested": (self.tested, 3), "minutes": (self.minutes, 1)}
        return {name: "" if value is None else f"{value:.{digits}f}" for name, (value, digits) in shown.items()}


def overview(record: RunRecord) -> Overview:
    """Read a record of any state; one that cannot be read is `damaged`."""
    state = state_now(record)
    try:
        if state == "completed":
            return _completed(record)
        return _unfinished(record, state)
    except UserError as error:
        return Overview(record, "damaged", reason=first_line(error))


def _completed(record: RunRecord) -> Overview:
    metrics, seconds = record.metrics, record.model.get("seconds_total")
    objective = metrics.get("objective") or {}
    scores = metrics.get(str(metrics.get("eval_split") or "test")) or {}
    return Overview(
        record,
        "completed",
        task=str(metrics.get("task", "")),
        objective=str(objective.get("metric", "")),
        best=objective.get("best"),
        tested=scores.get(objective.get("metric")),
        minutes=_minutes(record.status) if seconds is None else seconds / 60,
    )


def _unfinished(record: RunRecord, state: str) -> Overview:
    config, status = record.config, record.known_status
    task = config.get("task") or {}
    objective = task.get("objective") or {}
    metric = str(objective.get("metric", ""))
    return Overview(
        record,
        state,
        task=str(task.get("_target_", "")).rpartition(".")[2].removesuffix("Task").lower(),
        objective=metric,
        best=_best(record, f"val/{metric}", str(objective.get("mode", "max"))),
        minutes=_minutes(status),
        reason=first_line(status.get("error") or ""),
        go_on=go_on(record) if state in RESUMABLE else "",
    )


def _best(record: RunRecord, key: str, mode: str) -> float | None:
    if not (record.path / "metrics.csv").is_file():
        return None
    values = [value for row in record.history() if isinstance(value := row.get(key), float)]
    if not values:
        return None
    return min(values) if mode == "min" else max(values)


def _minutes(status: dict[str, Any]) -> float | None:
    started, ended = status.get("started"), status.get("ended")
    if not started or (not ended and status.get("state") != "running"):
        return None
    try:
        began, end = (datetime.fromisoformat(time) for time in (started, ended or now()))
        return (end - began).total_seconds() / 60
    except (TypeError, ValueError):
        return None


def go_on(record: RunRecord) -> str:
    """Command line that goes on with a run that was interrupted, killed, or failed, from any sweep.

    Empty where the record does not say with which words: of `compress` it keeps those about the training alone.
    """
    status = record.known_status
    if "compressed" in status:
        return ""
    home = status.get("working_directory")
    elsewhere = home is not None and Path(home) != Path.cwd()
    folder = record.path.absolute() if elsewhere else record.path
    words = [_typed(word) for word in record.overrides if word.partition("=")[0] != "output"]
    folders: Sequence[str] = status.get("import_path") or ()
    options = ["--config-dir", folders[0]] if folders else []
    command = shlex.join(["streetlab", "train", *options, *words, f"output={folder}"])
    return f"cd {shlex.quote(str(home))} && {command}" if elsewhere else command


def _typed(word: str) -> str:
    """Write an override of a record as it may be typed: paths plainly, and in quotes what a sweep has escaped."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    key, _, value = word.partition("=")
    plain = f"{key}={unquote(value)}"
    if quote_paths([plain]) == [word]:
        return plain
    if "\\" in word:
        escaped = OverridesParser.create().parse_override(word).value()
        return f"{key}={quote(escaped)}" if isinstance(escaped, str) else word
    return word

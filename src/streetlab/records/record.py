"""The run record: one folder per run, the only source of truth for everything that reports."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from streetlab.config.moved import with_current_targets
from streetlab.config.run_names import located
from streetlab.datasets.manifest import Entry, Manifest, read_entries
from streetlab.errors import UserError, first_line
from streetlab.io import files
from streetlab.metrics.confusions import Confusions, SplitConfusions, read_confusions, write_confusions
from streetlab.metrics.predictions import Predictions, read_predictions, write_predictions
from streetlab.records.contents import checked

__all__ = ["Confusions", "Predictions", "RunRecord", "find_runs", "split_usable"]

_MARKS = ("status.json", "config.yaml")
_DEEPEST = 4
_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Cell = int | float | str | None


class RunRecord:
    """A run folder. Every read goes to the disk, every write is atomic; nothing is kept in memory.

    Epochs in the record (the column `epoch`, `best_epoch`, `first_epoch`) count from 1.

    Args:
        path: the run folder; it need not exist before the first write.

    Raises:
        UserError: on reading, a file is missing or damaged (named); on writing, see `files.write_bytes`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name or self.path.resolve().name

    @property
    def checkpoints(self) -> Path:
        """The folder of best.ckpt and last.ckpt."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of the run's figures."""
        return self.path / "figures"

    @property
    def config(self) -> dict[str, Any]:
        """The fully resolved config, plain Python."""
        config = _read_yaml(self.path / "config.yaml")
        if not isinstance(config, dict):
            raise UserError(f"{self.path / 'config.yaml'}: a mapping is expected, found {_kind(config)}")
        return with_current_targets(checked(self.path / "config.yaml", config))

    @property
    def trained_config(self) -> dict[str, Any]:
        """`config` with the batch size that `batch_size=auto` has chosen."""
        config = self.config
        found = self.status.get("batch_size") if config.get("batch_size") == "auto" else None
        return config if found is None else {**config, "batch_size": found}

    @property
    def overrides(self) -> list[str]:
        """The overrides of the command line, `key=value` each."""
        overrides = _read_yaml(self.path / "overrides.yaml")
        if not isinstance(overrides, list):
            raise UserError(f"{self.path / 'overrides.yaml'}: a list is expected, found {_kind(overrides)}")
        return [str(override) for override in overrides]

    @property
    def status(self) -> dict[str, Any]:
        """State, error, start, end, hashes, host, commit, versions, device."""
        return _read_json(self.path / "status.json")

    @property
    def known_status(self) -> dict[str, Any]:
        """`status`, empty where there is no status.json."""
        return self.status if (self.path / "status.json").is_file() else {}

    @property
    def state(self) -> str:
        """One of running, completed, failed and interrupted, or `unknown` where status.json names none."""
        return str(self.status.get("state", "unknown"))

    @property
    def metrics(self) -> dict[str, Any]:
        """The final numbers: task, objective, best_epoch, phases, val, test, label_space."""
        return _read_json(self.path / "metrics.json")

    @property
    def eval_split(self) -> str:
        """The split whose numbers the run reports: test, or val where the truth of test is withheld."""
        return str(self.metrics.get("eval_split", "test"))

    @property
    def model(self) -> dict[str, Any]:
        """The cost: parameters, checkpoint_bytes, gmacs, peak_memory_bytes, seconds, images per second."""
        return _read_json(self.path / "model.json")

    def history(self) -> list[dict[str, Cell]]:
        """metrics.csv, row by row: epoch and step int, phase str, all else float; None = not logged there."""
        path = self.path / "metrics.csv"
        text = _read_text(path)
        if text and not text.endswith("\n"):
            # killed while appending: a cut number reads as a wrong number, so the half line goes
            text = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        try:
            return [{key: _cell(key, value) for key, value in row.items()} for row in rows]
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: damaged ({error})") from None

    @property
    def located_config(self) -> dict[str, Any]:
        """`trained_config` with relative paths to data and weights as they led from where the run was recorded.

        A path that leads nowhere from there stays as it was written.
        """
        home = self.known_status.get("working_directory")
        return located(self.trained_config, Path(home)) if home else self.trained_config

    def photos(self) -> list[Entry] | None:
        """Every photo of the run, from samples.csv; None in records older than that file."""
        path = self.path / "samples.csv"
        if not path.is_file():
            return None
        try:
            return read_entries(path.read_bytes().decode("utf-8", errors="surrogateescape"))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error})") from None

    def predictions(self, split: str | None = None) -> Predictions:
        """The classifier's predictions on `val` or `test`; None: the split that the run reports."""
        return read_predictions(self.path / "predictions.csv", split or self.eval_split)

    def confusions(self, split: str | None = None) -> Confusions:
        """The segmenter's confusion matrix of each image of `val`, `test` or another split that was tested.

        Args:
            split: None: the one that the run reports.
        """
        return read_confusions(self.path / "confusions.npz", split or self.eval_split)

    def unfinished(self) -> str | None:
        """The reason in status.json that the run is not complete: `running`, `failed: ...`; None if it is."""
        try:
            status = self.status
        except UserError as error:
            return f"half-written: {error}"
        state = str(status.get("state", "unknown"))
        if state == "completed":
            return None
        reason = first_line(status.get("error") or "")
        return f"{state}: {reason}" if reason else state

    def fault(self) -> str | None:
        """The reason that a run cannot be reported: half-written, running, failed, interrupted; None if complete."""
        reason = self.unfinished()
        if reason is not None:
            return reason
        try:
            whole = bool(self.config and self.metrics)
        except UserError as error:
            return f"half-written: {error}"
        return None if whole else "half-written: config.yaml or metrics.json is empty"

    def write_config(self, config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Write config.yaml (resolved, plain Python) and overrides.yaml."""
        files.write_text(self.path / "overrides.yaml", _yaml(list(overrides)))
        files.write_text(self.path / "config.yaml", _yaml(config))

    def write_status(self, **fields: Any) -> dict[str, Any]:
        """Merge `fields` into status.json and return the whole."""
        path = self.path / "status.json"
        status = (_read_json(path) if path.exists() else {}) | files.to_plain(fields)
        files.write_json(path, status)
        return status

    def write_end(self, state: str, error: BaseException | str | None = None, **fields: Any) -> dict[str, Any]:
        """Write the state and time of the run's end; of an error its text, and its traceback unless it is the user's.

        Args:
            fields: of status.json, written with it.

        Returns:
            the whole of status.json.
        """
        where = None
        if isinstance(error, BaseException) and not isinstance(error, UserError):
            where = "".join(traceback.format_exception(error))
        text = None if error is None else str(error)
        return self.write_status(state=state, ended=now(), error=text, traceback=where, **fields)

    def write_photos(self, manifest: Manifest) -> None:
        """Write samples.csv, and its hashes into status.json."""
        files.write_text(self.path / "samples.csv", manifest.to_csv())
        self.write_status(data_hash=manifest.data_hash, photos_hash=manifest.photos_hash)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        files.write_json(self.path / "metrics.json", metrics)

    def write_model(self, model: Mapping[str, Any]) -> None:
        """Write model.json."""
        files.write_json(self.path / "model.json", model)

    def write_predictions(self, by_split: Mapping[str, Predictions]) -> None:
        """Write predictions.csv, all splits at once: `{"val": ..., "test": ...}`."""
        write_predictions(self.path / "predictions.csv", by_split)

    def write_confusions(self, by_split: Mapping[str, SplitConfusions], names: Sequence[str]) -> None:
        """Write confusions.npz, all splits at once: `{"val": (ids, (N, K, K) matrices[, groups]), "test": ...}`."""
        write_confusions(self.path / "confusions.npz", by_split, names)


def now() -> str:
    """The time in UTC to the second, as ISO 8601: later times are greater as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def find_runs(root: str | os.PathLike[str]) -> list[RunRecord]:
    """Every record at or below `root` (at most 4 folders deep), sorted by path; `fault()` flags the unusable.

    A folder is a record if it holds status.json or config.yaml. Nothing inside a record is searched, nor are
    hidden folders (the cache holds thousands of files).

    Raises:
        UserError: `root` is not a folder.
    """
    top = Path(root)
    if not top.is_dir():
        raise UserError(f"{top}: {'not a folder' if top.exists() else 'no such folder'}; expected a folder of runs")
    found = []
    for folder, below, names in os.walk(top):
        if any(mark in names for mark in _MARKS):
            found.append(RunRecord(folder))
            below.clear()
        elif len(Path(folder).relative_to(top).parts) >= _DEEPEST:
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]
    return sorted(found, key=lambda record: record.path)


def split_usable(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[tuple[RunRecord, str]]]:
    """Divide records into completed ones and the others, each with the reason to skip it.

    Nothing else is read, so that a thousand records are not read twice: a completed one can still be damaged.
    """
    usable, skipped = [], []
    for record in records:
        reason = record.unfinished()
        if reason is None:
            usable.append(record)
        else:
            skipped.append((record, reason))
    return usable, skipped


def _cell(key: str | None, value: str | None) -> Cell:
    if key is None:
        raise ValueError("a row has more cells than the header")
    if value is None or value == "":
        return None
    if key == "phase":
        return value
    return int(float(value)) if key in ("epoch", "step") else float(value)


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {path.parent} a run folder?") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_json(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: damaged, not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected, found {_kind(value)}")
    return checked(path, value)


def _read_yaml(path: Path) -> Any:
    text = _read_text(path)
    with contextlib.suppress(yaml.YAMLError, UnicodeError):
        return yaml.load(text, Loader=_FastLoader)
    try:
        # slower, but it reads names that are not UTF-8 and says where a fault is
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise UserError(f"{path}: damaged, not YAML{line}") from None


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _yaml(value: object) -> str:
    return yaml.safe_dump(files.to_plain(value), sort_keys=False, allow_unicode=True, width=110)

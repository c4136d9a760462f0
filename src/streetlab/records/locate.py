"""Locate the run that `run=DIR` or `teacher=DIR` names."""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path

from streetlab.config.import_path import extend_import_path
from streetlab.errors import UserError
from streetlab.records.record import RunRecord, find_runs

OUTPUTS = Path("outputs")


def locate_run(path: str, key: str = "run") -> RunRecord:
    """The record at that folder; it may be of any state, and may have been moved.

    Args:
        key: what the path was given as, for messages.

    Raises:
        UserError: no such folder, or no record in it; the nearest run is named.
    """
    folder = Path(path).expanduser()
    if (folder / "config.yaml").is_file():
        record = RunRecord(folder)
        make_importable(record)
        return record
    if folder.is_file():
        above = next((parent for parent in folder.parents[:2] if (parent / "config.yaml").is_file()), None)
        near = f"; did you mean '{above}'?" if above else ""
        if folder.suffix in (".onnx", ".pt2"):
            raise UserError(f"{key}: {folder} is an exported model, for predict and app alone{near}")
        raise UserError(f"{key}: {folder} is a file, not a run's folder{near}")
    if not folder.is_dir():
        raise UserError(f"{key}: no folder {folder}{_nearest(folder)}")
    below = [record.path for record in find_runs(folder) if record.path != folder]
    if below:
        raise UserError(f"{key}: {folder} is no run, but holds {len(below)}; name one, such as {below[0]}")
    raise UserError(f"{key}: {folder} holds no run record (config.yaml is missing){_nearest(folder)}")


def make_importable(record: RunRecord) -> None:
    """Make a run's own modules importable from the folder they were in when the run was trained."""
    with suppress(UserError):  # a damaged status.json is told of by those who need it
        extend_import_path(map(str, record.known_status.get("import_path") or ()))


def locate_teacher(path: str, folder: Path | None = None) -> RunRecord:
    """The completed run at that path.

    Args:
        folder: of the run that is to be taught, where that is known.

    Raises:
        UserError: there is no such run, it is not complete, its best epoch is gone, or it would teach itself.
    """
    record = locate_run(path, key="teacher")
    if folder is not None and record.path.resolve() == folder.resolve():
        raise UserError(f"teacher: {path} is the run's own folder; a run can't teach itself")
    reason = record.unfinished()
    if reason is not None:
        raise UserError(f"teacher: {path} is not complete ({reason}); only a completed run teaches")
    best = record.checkpoints / "best.ckpt"
    if not best.is_file():
        raise UserError(f"teacher: no {best}: the run's best epoch was moved or deleted")
    return record


def _nearest(folder: Path) -> str:
    """`; did you mean ...?` for a run of a similar name beside the folder, or among all where that is nowhere."""
    around = next((parent for parent in folder.parents[:2] if parent.is_dir()), OUTPUTS)
    if around == Path() or not around.is_dir():
        around = OUTPUTS
    runs = {record.name: record.path for record in find_runs(around)} if around.is_dir() else {}
    near = difflib.get_close_matches(folder.name, runs, n=1, cutoff=0.5)
    return f"; did you mean '{runs[near[0]]}'?" if near else ""

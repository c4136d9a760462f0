"""The run that `teacher=DIR` names."""

from __future__ import annotations

from pathlib import Path

from streetlab.errors import UserError
from streetlab.records.locate import chosen_run
from streetlab.records.record import RunRecord


def teaching_run(path: str, folder: Path | None = None) -> RunRecord:
    """The completed run at that path.

    Args:
        folder: of the run that is to be taught, where that is known.

    Raises:
        UserError: there is no such run, it is not complete, its best epoch is gone, or it would teach itself.
    """
    record = chosen_run(path, key="teacher")
    if folder is not None and record.path.resolve() == folder.resolve():
        raise UserError(f"teacher: {path} is the run's own folder; a run can't teach itself")
    reason = record.unfinished()
    if reason is not None:
        raise UserError(f"teacher: {path} is not complete ({reason}); only a completed run teaches")
    best = record.checkpoints / "best.ckpt"
    if not best.is_file():
        raise UserError(f"teacher: no {best}: the run's best epoch was moved or deleted")
    return record

"""Opening a record to train into: is there anything to do, into which folder, and from which checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streetlab.data.index.split import content_hash
from streetlab.errors import UserError, did_you_mean
from streetlab.place import place
from streetlab.runs.liveness import writer
from streetlab.runs.naming import config_hash, fresh
from streetlab.runs.record import RunRecord


def completed_record(folder: Path, config: Mapping[str, Any], resume: str) -> RunRecord | None:
    """The record of this very config that is complete, so that there is nothing to do.

    Raises:
        UserError: the folder holds another config's record, or a checkpoint is named for a completed run.
    """
    record = RunRecord(folder)
    if resume == "never" or not (folder / "config.yaml").exists():
        return None
    if recorded_hash(record) != config_hash(config):
        raise UserError(f"{folder} holds the record of another config; give another with output=DIR")
    if record.state != "completed":
        return None
    if resume != "auto" and not _goes_on_from(record, Path(resume).expanduser()):
        raise UserError(f"resume: {folder} holds a completed run; give another folder with output=DIR")
    return record


def recorded_hash(record: RunRecord) -> str:
    """`config_hash` of a record's config, its split file and teacher as the run read them: they may be gone by now."""
    status = record.known_status
    known = {key: (status.get(key) or {}).get("sha256") for key in ("split_file", "teacher")}
    return config_hash(record.config, **known)


def open_record(folder: Path, config: Mapping[str, Any], resume: str) -> tuple[RunRecord, Path | None]:
    """The record to write to and the checkpoint to go on from.

    Args:
        folder: where the run belongs by its name.
        resume: auto, never, or a checkpoint's path.

    Raises:
        UserError: no such checkpoint; the folder holds something else, is being written, or cannot be written.
    """
    if _is_this_jobs(folder):
        resume = "auto"
    if resume == "never":
        folder = fresh(folder)
    checkpoint = None if resume in ("auto", "never") else Path(resume).expanduser()
    if checkpoint is not None and not checkpoint.is_file():
        last = checkpoint / "checkpoints" / "last.ckpt"
        near = f"; did you mean {last}?" if last.is_file() else did_you_mean(resume, ("auto", "never"))
        raise UserError(f"resume: no checkpoint {checkpoint} (allowed: auto, never, or a file){near}")
    record = RunRecord(folder)
    if checkpoint is not None:
        _refuse_while_written(checkpoint)
    if (folder / "config.yaml").exists():
        process = writer(record)
        if process not in (None, os.getpid()):
            raise UserError(f"{folder} is being written by process {process}; wait for it or give output=DIR")
        last = record.checkpoints / "last.ckpt"
        if last.exists() and (checkpoint is None or _goes_on_from(record, checkpoint)):
            checkpoint = last
        elif last.exists() and checkpoint is not None and checkpoint.resolve().parent != last.resolve().parent:
            raise UserError(
                f"resume: {folder} holds epochs that do not come from {checkpoint}; resume=auto goes on from them, "
                "output=DIR begins another record"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no run record; give another with output=DIR")
    try:
        record.checkpoints.mkdir(parents=True, exist_ok=True)
        record.figures.mkdir(exist_ok=True)
        (folder / "train.log").touch()
    except OSError as error:
        raise UserError(f"output: cannot write to {folder} ({error.strerror}); give another with output=DIR") from None
    return record, checkpoint


def _goes_on_from(record: RunRecord, checkpoint: Path) -> bool:
    """Whether the record began from this very checkpoint."""
    origin = (record.known_status.get("resumed_from") or {}).get("sha256")
    return origin is not None and checkpoint.is_file() and content_hash(checkpoint) == origin


def _refuse_while_written(checkpoint: Path) -> None:
    """Raise where the run that a checkpoint is of still trains: the file would change under the run that goes on."""
    run = RunRecord(checkpoint.parent.parent)
    process = writer(run) if run.known_status else None
    if process not in (None, os.getpid()):
        raise UserError(f"resume: {run.path} is being written by process {process}; wait for it or copy {checkpoint}")


def _is_this_jobs(folder: Path) -> bool:
    """Whether the record is of this very job, put in a cluster's queue again: it goes on with `resume=never` too."""
    job = place().job
    return bool(job) and (folder / "status.json").exists() and RunRecord(folder).status.get("job") == job

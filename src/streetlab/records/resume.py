"""Open a record to train into: decide on skipping, the folder and the checkpoint to resume from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streetlab.config.run_names import fresh
from streetlab.errors import UserError, did_you_mean
from streetlab.io.files import file_sha256
from streetlab.process_rank import process_rank
from streetlab.records.identity import Identity, photos_differ
from streetlab.records.lock import sole_writer
from streetlab.records.process_status import writer
from streetlab.records.record import RunRecord

_ANEW = "resume=never trains anew, output=DIR gives another folder"


def choose_folder(folder: Path, identity: Identity, resume: str, named: bool, search: bool) -> Path:
    """Find the record of the same run anywhere beside `folder`, else the folder for a new one.

    Where `folder` holds a completed run of other photos or weights, the run gets a folder of its own beside it.

    Args:
        folder: where the run belongs by its words.
        identity: the run's.
        resume: auto, never, or a checkpoint's path.
        named: the folder's name follows from the words; otherwise the user chose it, and no other is looked at.
        search: a record of another name may be of the same run; not among jobs that only their names tell apart.

    Raises:
        UserError: the folder holds another run that cannot make way: one of other words, an interrupted one of other
            photos or weights, or in a chosen folder any.
    """
    record = RunRecord(folder)
    if not (folder / "config.yaml").exists():
        return (_same_run_beside(folder, identity) if named and search else None) or folder
    if identity.is_of(record):
        return folder
    difference = identity.difference(record)
    if not difference:
        raise UserError(f"{folder} holds the record of another config; give another with output=DIR")
    if named and search and (same := _same_run_beside(folder, identity)) is not None:
        return same
    unique = folder.with_name(f"{folder.name}-{identity.short_hash}")
    if named and (unique / "config.yaml").exists():
        return unique
    completed = record.known_status.get("state") == "completed"
    if not completed and not (record.checkpoints / "last.ckpt").exists():
        return folder  # nothing was trained there
    if named and (completed or resume == "never"):
        return unique
    if completed or resume == "never":
        raise UserError(f"{folder} holds a run of other photos or weights: {difference}; give another with output=DIR")
    raise UserError(f"{folder} cannot be resumed, it began with other photos or weights: {difference} ({_ANEW})")


def _same_run_beside(folder: Path, identity: Identity) -> Path | None:
    """The record of the same run beside `folder`: of data that were renamed, or from a call with other data before."""
    if not folder.parent.is_dir():
        return None
    for path in sorted(folder.parent.iterdir()):
        record = RunRecord(path)
        if path == folder or not (path / "config.yaml").is_file():
            continue
        try:
            if record.known_status.get("data_hash") == identity.photos.data_hash and identity.has_words_of(record):
                return path
        except UserError:  # a damaged record is nobody's
            continue
    return None


def completed_record(folder: Path, resume: str) -> RunRecord | None:
    """The complete record in a folder that `choose_folder` found; then training is skipped.

    Raises:
        UserError: a checkpoint is named for a completed run.
    """
    record = RunRecord(folder)
    if resume == "never" or record.known_status.get("state") != "completed":
        return None
    if resume != "auto" and not _goes_on_from(record, Path(resume).expanduser()):
        raise UserError(f"resume: {folder} holds a completed run; give another folder with output=DIR")
    return record


@contextmanager
def opened_record(folder: Path, identity: Identity, resume: str) -> Iterator[tuple[RunRecord, Path | None]]:
    """Keep the record to write to from other processes, and find the checkpoint to resume from.

    Args:
        folder: from `choose_folder`.
        resume: auto, never, or a checkpoint's path.

    Raises:
        UserError: no such checkpoint, or one of other photos; the folder holds something else, is being written, or
            cannot be written.
    """
    if _is_this_jobs(folder):
        resume = "auto"
    if resume == "never":
        folder = fresh(folder)
    checkpoint = None if resume in ("auto", "never") else Path(resume).expanduser()
    if checkpoint is not None:
        _check_checkpoint(checkpoint, identity)
    record = RunRecord(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    with sole_writer(folder, writer(record) if (folder / "status.json").exists() else None):
        checkpoint = _checkpoint_of(record, checkpoint)
        try:
            record.checkpoints.mkdir(exist_ok=True)
            record.figures.mkdir(exist_ok=True)
            (folder / "train.log").touch()
        except OSError as error:
            raise _cannot_write(folder, error) from None
        yield record, checkpoint


def _checkpoint_of(record: RunRecord, asked: Path | None) -> Path | None:
    """The checkpoint to resume from: that of the record, where there is one, else the one asked for."""
    folder, last = record.path, record.checkpoints / "last.ckpt"
    if not (folder / "config.yaml").exists():
        if not all(map(_is_of_the_first, folder.iterdir())):
            raise UserError(f"{folder} is not empty and holds no run record; give another with output=DIR")
        return asked
    if record.known_status.get("state") == "completed":
        raise UserError(f"{folder} was completed by another process meanwhile; the same command skips it now")
    if last.exists() and (asked is None or _goes_on_from(record, asked)):
        return last
    if last.exists() and asked is not None and asked.resolve().parent != last.resolve().parent:
        raise UserError(
            f"resume: {folder} holds epochs that do not come from {asked}; resume=auto goes on from them, "
            "output=DIR begins another record"
        )
    return asked


def _is_of_the_first(path: Path) -> bool:
    """Check that a file or folder is of what a training makes before its config.yaml: a kill may come between."""
    if path.is_dir():
        return path.name in ("checkpoints", "figures") and not any(path.iterdir())
    return path.name in ("train.log", "overrides.yaml") or path.match(".*.tmp")


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"output: cannot write to {folder} ({error.strerror}); give another with output=DIR")


def _check_checkpoint(checkpoint: Path, identity: Identity) -> None:
    """Refuse a named checkpoint that is missing, or whose run still trains or saw other photos."""
    if not checkpoint.is_file():
        last = checkpoint / "checkpoints" / "last.ckpt"
        near = f"; did you mean {last}?" if last.is_file() else did_you_mean(str(checkpoint), ("auto", "never"))
        raise UserError(f"resume: no checkpoint {checkpoint} (allowed: auto, never, or a file){near}")
    run = RunRecord(checkpoint.resolve().parent.parent)
    if not identity.has_photos_of(run):
        raise UserError(
            f"resume: the run of {checkpoint} saw other photos: {photos_differ(run, identity.photos)} "
            "(model.weights=FILE takes its weights alone)"
        )
    process = writer(run) if run.known_status else None
    if process not in (None, os.getpid()):
        # the file would change under the run that goes on
        raise UserError(f"resume: {run.path} is being written by process {process}; wait for it or copy {checkpoint}")


def _goes_on_from(record: RunRecord, checkpoint: Path) -> bool:
    """Check that the record began from this very checkpoint."""
    origin = (record.known_status.get("resumed_from") or {}).get("sha256")
    return origin is not None and checkpoint.is_file() and file_sha256(checkpoint) == origin


def _is_this_jobs(folder: Path) -> bool:
    """Check that the record is of this very job, requeued by a cluster: it goes on with `resume=never` too."""
    job = process_rank().job
    return bool(job) and (folder / "status.json").exists() and RunRecord(folder).status.get("job") == job

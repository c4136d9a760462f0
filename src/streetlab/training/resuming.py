"""Resume from a checkpoint: check the config against the earlier run's, and take over its records.

What is behind a checkpoint stays as it was, so the config must be the same in all that counts; only the phases to
come may be asked for anew, and how long the one lasts that the checkpoint was written in. The record that a checkpoint
comes from is read and never written: what a new record goes on from is copied into it.
"""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from streetlab.checkpoints.read import CHECKPOINT_KEY, epochs_behind, kept_best
from streetlab.config.run_names import LEFT_OUT, PATHS, TEACHER, has_teacher, matches
from streetlab.errors import UserError, first_line
from streetlab.io import files
from streetlab.io.files import file_sha256
from streetlab.records.record import RunRecord
from streetlab.training.phases import Phase, PhaseSchedule, Resumed, parse_phases

log = logging.getLogger(__name__)

_MOST_SHOWN = 3
_ABSENT = object()


@dataclass(frozen=True)
class Start:
    """The starting point of a run.

    Attributes:
        resumed: what training has to know of it.
        epochs: how many the checkpoint has behind it.
        best: the best of them; None where it is not to be had, and `without_best` says why.
    """

    resumed: Resumed
    epochs: int
    best: Path | None
    without_best: str

    @property
    def checkpoint(self) -> Path:
        return self.resumed.checkpoint


def find_start(
    path: Path, checkpoint: Mapping[str, Any], config: Mapping[str, Any], regime: PhaseSchedule, record: RunRecord
) -> Start:
    """Find the starting point of a run that resumes from a checkpoint.

    Args:
        path: of the checkpoint.
        checkpoint: its contents, see `checkpoints.read_resumable`.
        config: the run's, plain Python.
        regime: the run's.
        record: the run's; from a checkpoint of its own it goes on with its own config.

    Raises:
        UserError: the checkpoint is of a run with another config, its phases are other ones, more epochs are behind it
            than the run is to have, or nothing is left to train and the best epoch is lost.
    """
    try:
        before: dict[str, Any] = checkpoint[CHECKPOINT_KEY]["config"]
        phases_before = _phases(before)
        state = regime.phase_of(checkpoint)
        name = state.name
        index = [phase.name for phase in phases_before].index(name) if state.index is None else state.index
        phase_before = phases_before[index]
        ended = state.ended or tuple(phase.epochs for phase in phases_before[:index])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise UserError(f"resume: {path} does not say of which run it is; resume=never trains anew") from None
    if not is_own(path, record):
        _refuse_other_config(path, before, config)
    _refuse_other_phases(path, phases_before[: index + 1], _phases(config))
    done = epochs_behind(checkpoint)
    done_in_phase = done - sum(ended)
    if state.stopped and regime.phases[index].epochs == phase_before.epochs:
        ended = (*ended, done_in_phase)  # a longer phase was asked for since: it goes on
    left = len(ended) == index and regime.phases[index].epochs > done_in_phase
    if regime.phases[index].epochs < done_in_phase:
        raise UserError(
            f"resume: {path} has {done_in_phase} epochs of phase '{name}' behind it, more than the "
            f"{regime.phases[index].epochs} asked for (regime.epochs, regime.max_epochs); allowed: from {done_in_phase}"
        )
    best, reason = kept_best(path, checkpoint)
    if best is None and index == len(regime.phases) - 1 and not left:
        raise UserError(
            f"resume: {path} leaves no epoch to train, and the best one is not to be had: {reason}; "
            f"regime.epochs={done_in_phase + 1} or more trains on"
        )
    return Start(Resumed(path, index, phase_before.epochs, best is not None, ended), done, best, reason)


def is_own(path: Path, record: RunRecord) -> bool:
    """Tell whether a checkpoint is among those of the record."""
    return path.resolve().parent == record.checkpoints.resolve()


def take_over(start: Start, record: RunRecord) -> None:
    """Copy the earlier run's results into the record, and note their origin in its status.json.

    Afterwards it holds what a run of its own would have left at this epoch: best.ckpt, the rows of metrics.csv and, as
    the last thing, last.ckpt. Where best epoch or rows are not to be had, the log says so.
    """
    last = record.checkpoints / "last.ckpt"
    log.info("resuming after epoch %d of %s", start.epochs, start.checkpoint)
    if start.best is None:
        log.warning("the best epoch up to %d does not count: %s", start.epochs, start.without_best)
    if start.checkpoint.resolve() == last.resolve():
        return
    record.write_status(
        resumed_from={
            "checkpoint": str(start.checkpoint.resolve()),
            "sha256": file_sha256(start.checkpoint),
            "epochs": start.epochs,
        }
    )
    if start.best is not None:
        _copy(start.best, record.checkpoints / "best.ckpt")
    _take_over_rows(start, record)
    _copy(start.checkpoint, last)


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    with source.open("rb") as file:
        files.write_bytes(target, lambda copy: shutil.copyfileobj(file, copy))


def _take_over_rows(start: Start, record: RunRecord) -> None:
    """Write metrics.csv with the rows of the epochs behind the checkpoint, letter for letter."""
    history = start.checkpoint.parent.parent / "metrics.csv"
    rows: list[dict[str, Any]] = []
    columns = ["epoch", "step", "phase"]
    reason = f"no {history}"
    if start.checkpoint.parent.name == record.checkpoints.name and history.is_file():
        try:
            RunRecord(history.parent).history()  # complains of what is damaged
            reader = csv.DictReader(io.StringIO(history.read_text(encoding="utf-8")))
            rows = [row for row in reader if int(row["epoch"]) <= start.epochs]
            columns = list(reader.fieldnames or columns)
        except (UserError, OSError, KeyError, TypeError, ValueError) as error:
            rows, reason = [], first_line(error) or f"{history} is damaged"
        else:
            reason = f"{history} lacks some of them"
    known = {int(row["epoch"]) for row in rows}
    if known != set(range(1, start.epochs + 1)):
        log.warning("metrics.csv does not go on from all epochs up to %d: %s", start.epochs, reason)
    files.write_csv(record.path / "metrics.csv", rows, columns)


def _phases(config: Mapping[str, Any]) -> list[Phase]:
    regime = config["regime"]
    return parse_phases(regime["phases"], regime.get("max_epochs"), regime.get("epochs"))


def _refuse_other_phases(path: Path, behind: list[Phase], phases: list[Phase]) -> None:
    """Raise unless the regime begins with the phases up to the checkpoint's, of which the last may be longer."""
    current = behind[-1].name
    names = [phase.name for phase in phases]
    if names[: len(behind)] != [phase.name for phase in behind]:
        raise UserError(f"resume: {path} stopped in phase '{current}'; this regime has {', '.join(names)}")
    for number, (before, now) in enumerate(zip(behind, phases, strict=False)):
        for field in fields(Phase):
            there, here = getattr(before, field.name), getattr(now, field.name)
            if there != here and not (field.name == "epochs" and number == len(behind) - 1):
                raise UserError(
                    f"resume: {path} has phase '{before.name}' behind it with {field.name} {_shown(there)}, this "
                    f"regime has {_shown(here)}; only later phases may differ, and how many epochs '{current}' has"
                )


def _refuse_other_config(path: Path, before: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise where the configs differ in what counts, apart from the phases."""
    there, here = _leaves(before), _leaves(config)
    keys = [key for key in dict.fromkeys((*here, *there)) if there.get(key, _ABSENT) != here.get(key, _ABSENT)]
    targets = [key.removesuffix("_target_") for key in keys if key.endswith("._target_")]
    keys = [key for key in keys if key.endswith("._target_") or not key.startswith(tuple(targets))]
    if keys:
        shown = ", ".join(
            f"{key} is {_shown(there.get(key))} there, {_shown(here.get(key))} here" for key in keys[:_MOST_SHOWN]
        )
        further = f" and {len(keys) - _MOST_SHOWN} more" * (len(keys) > _MOST_SHOWN)
        raise UserError(
            f"resume: {path} is of a run with another config: {shown}{further}; only regime.phases and their epochs "
            "may differ (model.weights=FILE begins a new run with the weights of a checkpoint)"
        )


def _leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without its phases, by dotted key; null values are left out."""
    leaves: dict[str, Any] = {}

    def collect(node: object, key: str) -> None:
        # the optimizer's state is of the groups that layer_decay makes
        is_regime = key.startswith("regime.") and key != "regime.layer_decay"
        if matches(key, LEFT_OUT) or is_regime or node is None:
            return
        if isinstance(node, Mapping):
            for name, child in node.items():
                collect(child, f"{key}.{name}" if key else str(name))
        elif isinstance(node, str) and matches(key, (*PATHS, TEACHER)):
            leaves[key] = Path(node).name
        else:
            leaves[key] = node

    collect(config if has_teacher(config) else {**config, "distillation": None}, "")
    return leaves


def _shown(value: object) -> str:
    return "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)

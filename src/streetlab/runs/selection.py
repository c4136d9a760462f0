"""Which records a comparison is about: complete, of one task, tested on the same photos at the same size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streetlab.errors import UserError
from streetlab.runs.grouping import FinishedRun, RunGroup, group_by_seed, read_finished
from streetlab.runs.record import RunRecord, find_runs, split_usable


@dataclass(frozen=True, eq=False)
class Selection:
    """Run groups that may be ranked against each other, and every record left out with its reason."""

    groups: tuple[RunGroup, ...]
    skipped: tuple[tuple[RunRecord, str], ...]
    task: str
    metric: str
    mode: str

    @property
    def runs(self) -> list[FinishedRun]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]


def select(paths: Sequence[Path]) -> Selection:
    """Find the records at or below `paths` and keep those that can be compared.

    Raises:
        UserError: no record, none complete, several tasks, or tests that are not the same: data set, split, number of
            images, resolution of the truth.
    """
    records = _records(paths)
    usable, skipped = split_usable(records)
    runs = []
    for record in usable:
        try:
            run = read_finished(record)
        except UserError as error:
            skipped.append((record, f"half-written: {error}"))
            continue
        if run.test:
            runs.append(run)
        else:
            skipped.append((record, f"metrics.json has no numbers of the {run.eval_split} split"))
    runs, partial = _without_partial_tests(runs)
    skipped += partial
    if not runs:
        listed = "".join(f"\n  {record.path}: {reason}" for record, reason in skipped)
        raise UserError(f"none of the {len(records)} records under {_list(paths)} is complete:{listed}")
    task = _one(runs, "task", lambda run: run.task)
    _one(runs, "data set", lambda run: str(run.settings.get("dataset.name", "unknown")))
    _one(runs, "split hash", lambda run: run.status.get("split_hash"))
    noun = "photos" if task == "classification" else "images"
    _one(runs, f"number of tested {noun}", lambda run: f"{run.eval_split} n = {run.test.get('n', 'unknown')}")
    _one(runs, "resolution of the test", _resolution)
    objective = _objective(runs)
    groups, repeated = group_by_seed(runs)
    skipped += repeated
    return Selection(
        tuple(groups), tuple(sorted(skipped, key=lambda pair: pair[0].path)), task, objective[0], objective[1]
    )


def _records(paths: Sequence[Path]) -> list[RunRecord]:
    """Every record once, also where the paths overlap."""
    found: dict[Path, RunRecord] = {}
    for path in paths:
        for record in find_runs(path):
            found.setdefault(record.path.resolve(), record)
    if not found:
        raise UserError(
            f"no run record under {_list(paths)}: expected folders with a status.json, as "
            "`streetlab train` writes them; name another folder with runs=DIR"
        )
    return list(found.values())


def _without_partial_tests(
    runs: Sequence[FinishedRun],
) -> tuple[list[FinishedRun], list[tuple[RunRecord, str]]]:
    """Leave debug runs that tested a few batches out, unless there are no others."""
    whole, partial = [], []
    for run in runs:
        key = limit_key(run)
        limit = run.settings.get(key)
        if limit is None or (isinstance(limit, float) and limit == 1.0):
            whole.append(run)
        else:
            reason = f"tested on a part of the split only ({key}={limit})"
            partial.append((run, reason))
    if not whole:
        return list(runs), []
    return whole, [(run.record, reason) for run, reason in partial]


def limit_key(run: FinishedRun) -> str:
    """The setting that cuts the split which the final numbers are from."""
    return f"trainer.limit_{'val' if run.eval_split == 'val' else 'test'}_batches"


def _resolution(run: FinishedRun) -> str | None:
    """`1024x2048` (height, width) of the masks that the run was tested on; None in records that do not tell."""
    size = run.test.get("resolution")
    return "x".join(map(str, size)) if isinstance(size, list | tuple) else None


def _one(runs: Sequence[FinishedRun], what: str, read: Callable[[FinishedRun], str | None]) -> str:
    """The value that all runs share, None left aside; several are an error that names a run for each."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        value = read(run)
        if value is not None:
            found.setdefault(value, []).append(run)
    if len(found) > 1:
        listed = "".join(
            f"\n  {value}: {len(members)} run{'s' * (len(members) > 1)}, such as {members[0].record.path}"
            for value, members in sorted(found.items())
        )
        raise UserError(
            f"runs can be compared only where the {what} is the same; name those of one kind with "
            f"runs=[A,B]; found{listed}"
        )
    return next(iter(found), "unknown")


def _objective(runs: Sequence[FinishedRun]) -> tuple[str, str]:
    """The task's objective, without `val/`; runs of one task may not rank by different ones."""
    for run in runs:
        if not isinstance(run.metrics.get("objective"), dict) or "metric" not in run.metrics["objective"]:
            raise UserError(f"{run.record.path / 'metrics.json'}: objective.metric is missing")
    shared = _one(runs, "objective", _objective_words)
    metric, _, mode = shared.partition(" ")
    return metric, mode


def _objective_words(run: FinishedRun) -> str:
    objective = run.metrics["objective"]
    return f"{str(objective['metric']).rpartition('/')[2]} {objective.get('mode', 'max')}"


def _list(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))

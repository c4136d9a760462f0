"""Select the records of a comparison: complete, of one task, tested on the same photos at the same size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streetlab.compare.folds import join_folds
from streetlab.compare.grouping import FinishedRun, RunGroup, group_by_seed, read_finished
from streetlab.datasets.task_spec import TASKS, TaskSpec
from streetlab.errors import UserError, did_you_mean
from streetlab.metrics.catalogue import mode_of
from streetlab.records.record import RunRecord, find_runs, split_usable

_MOST_LISTED = 5
_COUNTS = ("n", "pixels")
"""Numbers of a split that say how much was tested, not how well."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Run groups that stand in one table, and every record left out with its reason.

    Args:
        groups: each of one config and one tested split; a complete set of folds is one run in them.
        skipped: what was found beside them.
        task: classification or segmentation.
        metric: what ranks the groups, a key of the evaluated split's numbers.
        mode: max or min.
    """

    groups: tuple[RunGroup, ...]
    skipped: tuple[tuple[RunRecord, str], ...]
    task: str
    metric: str
    mode: str

    @property
    def spec(self) -> TaskSpec:
        """The facts of the task."""
        return TASKS[self.task]

    @property
    def runs(self) -> list[FinishedRun]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def splits(self) -> list[str]:
        """The tested splits as `tested_split` tells them apart; several only where that was asked for."""
        return list(dict.fromkeys(tested_split(group.runs[0]) for group in self.groups))


def tested_split(run: FinishedRun) -> str:
    """`ab12cd34 n=112`: hash of the split and number of photos; runs that share it were tested on the same photos.

    Of a set of folds `ab12cd34 n=691 (5 folds, out of fold)`.
    """
    return _with_folds(f"{str(run.status.get('split_hash') or 'unknown')[:8]} n={run.test.get('n', 'unknown')}", run)


def folds_text(run: FinishedRun) -> str:
    """`5 folds, out of fold`; empty for a run of its own."""
    return f"{len(run.by_fold)} folds, out of fold" if run.by_fold else ""


def select(paths: Sequence[Path], objective: str | None = None, different_splits: bool = False) -> Selection:
    """Find the records at or below `paths` and keep those that can be compared.

    Args:
        paths: folders of records, or records.
        objective: what to rank by, None for the task's own; a number of the evaluated split such as accuracy. Of
            a metric that is not the task's own, the mode is the catalogue's.
        different_splits: allow runs that were tested on different photos of one data set.

    Raises:
        UserError: no record, none complete, several tasks, an unknown objective, or tests that are not the same:
            data set, split, number of images, resolution of the truth.
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
    runs, apart = join_folds(runs)
    runs, partial = _without_partial_tests(runs)
    skipped += apart + partial
    if not runs:
        listed = "".join(f"\n  {record.path}: {reason}" for record, reason in skipped[:_MOST_LISTED])
        more = f"\n  and {len(skipped) - _MOST_LISTED} more" if len(skipped) > _MOST_LISTED else ""
        raise UserError(f"none of the {len(records)} records under {_list(paths)} is complete:{listed}{more}")
    task = _one(runs, "task", lambda run: run.task)
    _one(runs, "data set", lambda run: str(run.settings.get("dataset.name", "unknown")))
    _one(runs, "evaluated split", lambda run: run.eval_split)
    if different_splits:
        runs = _told_apart(runs)
    else:
        noun = TASKS[task].noun
        told = "different_splits=true shows them in one table, untested"
        _one(runs, "split hash", _split_hash, told)
        _one(runs, f"contents of the {noun} (data hash)", lambda run: run.status.get("data_hash"), told)
        _one(runs, f"number of tested {noun}", lambda run: f"{run.eval_split} n = {run.test.get('n', 'unknown')}", told)
    _one(runs, "resolution of the test", _resolution)
    metric, mode = _own_objective(runs) if objective is None else _asked_objective(runs, objective)
    mixed = different_splits and len({tested_split(run) for run in runs}) > 1
    groups, repeated = group_by_seed(runs, (lambda run: f"split={tested_split(run)}") if mixed else (lambda run: ""))
    skipped += repeated
    return Selection(tuple(groups), tuple(sorted(skipped, key=lambda pair: pair[0].path)), task, metric, mode)


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
    return whole, [(member.record, reason) for run, reason in partial for member in run.members]


def limit_key(run: FinishedRun) -> str:
    """The setting that cuts the split which the final numbers are from."""
    return f"trainer.limit_{'val' if run.eval_split == 'val' else 'test'}_batches"


def _split_hash(run: FinishedRun) -> str | None:
    return _with_folds(str(run.status["split_hash"]), run) if run.status.get("split_hash") else None


def _told_apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs, with their data hash as the split hash where photos of equal names and splits differ."""
    hashes: dict[Any, set[Any]] = {}
    for run in runs:
        if run.status.get("data_hash"):
            hashes.setdefault(run.status.get("split_hash"), set()).add(run.status["data_hash"])
    return [
        replace(run, status={**run.status, "split_hash": run.status["data_hash"]})
        if run.status.get("data_hash") and len(hashes[run.status.get("split_hash")]) > 1
        else run
        for run in runs
    ]


def _with_folds(text: str, run: FinishedRun) -> str:
    return f"{text} ({folds_text(run)})" if run.by_fold else text


def _resolution(run: FinishedRun) -> str | None:
    """`1024x2048` (height, width) of the masks that the run was tested on; None in records that do not tell."""
    size = run.test.get("resolution")
    return "x".join(map(str, size)) if isinstance(size, list | tuple) else None


def _one(runs: Sequence[FinishedRun], what: str, read: Callable[[FinishedRun], str | None], otherwise: str = "") -> str:
    """The value that all runs share, None left aside; several are an error that names a run for each."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        value = read(run)
        if value is not None:
            found.setdefault(value, []).append(run)
    if len(found) > 1:
        listed = "".join(
            f"\n  {value}: {len(members)} run{'s' * (len(members) > 1)}, such as {members[0].record.path}"
            for value, members in sorted(found.items())[:_MOST_LISTED]
        )
        listed += f"\n  and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
        raise UserError(
            f"runs can be compared only where the {what} is the same; name those of one kind with "
            f"runs=[A,B]{f', or {otherwise}' if otherwise else ''}; found{listed}"
        )
    return next(iter(found), "unknown")


def _own_objective(runs: Sequence[FinishedRun]) -> tuple[str, str]:
    """Metric and mode of the task's objective, without `val/`; the runs may not be of different ones."""
    for run in runs:
        if not isinstance(run.metrics.get("objective"), dict) or "metric" not in run.metrics["objective"]:
            raise UserError(f"{run.record.path / 'metrics.json'}: objective.metric is missing")
    told = "choose what to rank by with objective=..."
    metric, _, mode = _one(runs, "objective", _objective_words, told).partition(" ")
    return metric, mode


def _asked_objective(runs: Sequence[FinishedRun], asked: str) -> tuple[str, str]:
    """The metric of that name, which some run must have, and the mode that goes with it."""
    scores = [_scores(run) for run in runs]
    if not any(asked in names for names in scores):
        shared = [name for name in scores[0] if all(name in names for names in scores)]
        raise UserError(
            f"objective: no run has a number {asked!r} of the {runs[0].eval_split} split; all have "
            f"{', '.join(shared) or 'none in common'}{did_you_mean(asked, dict.fromkeys(n for s in scores for n in s))}"
        )
    for run in runs:
        own = run.metrics.get("objective")
        if isinstance(own, dict) and str(own.get("metric")).rpartition("/")[2] == asked and "mode" in own:
            return asked, str(own["mode"])
    return asked, mode_of(asked)


def _scores(run: FinishedRun) -> list[str]:
    """The keys of the evaluated split's numbers that can rank runs."""
    return [key for key, value in run.test.items() if key not in _COUNTS and type(value) in (int, float)]


def _objective_words(run: FinishedRun) -> str:
    objective = run.metrics["objective"]
    return f"{str(objective['metric']).rpartition('/')[2]} {objective.get('mode', 'max')}"


def _list(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))

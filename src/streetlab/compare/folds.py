"""Join the runs of one cross-validation into one result, in which every photo is tested once."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streetlab.compare.grouping import FinishedRun
from streetlab.errors import UserError
from streetlab.metrics.classification import calibration_numbers
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.results import RESULT_FILES, SplitResults
from streetlab.metrics.statistics.calibration import apply_temperature
from streetlab.records.record import RunRecord

FOLDS = "dataset.folds"
FOLD = "dataset.fold"

_Skipped = list[tuple[RunRecord, str]]


def join_folds(runs: Iterable[FinishedRun]) -> tuple[list[FinishedRun], _Skipped]:
    """Put one joined run in the place of each complete set of folds; runs without folds stay as they are.

    A set differs in `dataset.fold` alone and has one split file, if any. Of a fold that was run twice the run that
    ended last counts. The joined run has the settings of its folds without `dataset.fold`, the numbers of the
    evaluated split computed anew from the predictions of all folds (see `_numbers`), and a split hash of its own, the
    same for the same folds.

    Returns:
        the runs, and every record that is in none of them with the reason: a repeated fold, an incomplete set, or
        folds that do not belong together.
    """
    joined: list[FinishedRun] = []
    skipped: _Skipped = []
    sets: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        if _has_fold(run):
            shared = {key: value for key, value in run.settings.items() if key != FOLD}
            # the settings know the split file by its name only
            same = [run.seed, run.status.get("split_file"), shared]
            sets[json.dumps(same, sort_keys=True, default=str)].append(run)
        else:
            joined.append(run)
    for members in sets.values():
        by_fold, repeated = _latest(members)
        skipped += repeated
        try:
            joined.append(_join([by_fold[fold] for fold in sorted(by_fold)]))
        except UserError as error:
            skipped += [(run.record, str(error)) for run in by_fold.values()]
    return joined, skipped


def _has_fold(run: FinishedRun) -> bool:
    return all(type(run.settings.get(key)) is int for key in (FOLDS, FOLD))


def _latest(runs: Iterable[FinishedRun]) -> tuple[dict[int, FinishedRun], _Skipped]:
    """The run of each fold that ended last, and the others."""
    kept: dict[int, FinishedRun] = {}
    repeated: _Skipped = []
    for run in sorted(runs, key=lambda run: str(run.status.get("ended") or "")):
        fold = run.settings[FOLD]
        if fold in kept:
            repeated.append((kept[fold].record, f"same config, seed and fold as {run.record.path}"))
        kept[fold] = run
    return kept, repeated


def _join(members: Sequence[FinishedRun]) -> FinishedRun:
    """One run of the members, in the order of their folds.

    Raises:
        UserError: a fold is missing, or they cannot be joined; see `_numbers`.
    """
    first = members[0]
    folds = first.settings[FOLDS]
    missing = sorted(set(range(folds)) - {run.settings[FOLD] for run in members})
    if missing:
        named = ", ".join(map(str, missing))
        several = len(missing) > 1
        raise UserError(
            f"fold{'s' * several} {named} of {folds} {'are' if several else 'is'} missing (counted from 0), "
            "so not every photo was tested"
        )
    for what in ("task", "eval_split"):
        found = sorted({getattr(run, what) for run in members})
        if len(found) > 1:
            raise UserError(f"its folds cannot be joined: {what} is {' and '.join(found)}")
    if len({run.status.get("photos_hash") for run in members} - {None}) > 1:
        raise UserError("its folds cannot be joined: they are of different photos (photos_hash in status.json)")
    kept = ("task", "objective", "eval_split", "label_space")
    return replace(
        first,
        settings={key: value for key, value in first.settings.items() if key != FOLD},
        metrics={key: first.metrics[key] for key in kept if key in first.metrics}
        | {first.eval_split: _numbers(members)},
        model={},
        status={"ended": max(str(run.status.get("ended") or "") for run in members)}
        | {key: _hash(members, key) for key in ("split_hash", "data_hash")},
        by_fold=tuple(members),
    )


def _hash(members: Sequence[FinishedRun], key: str) -> str | None:
    """16 hex digits of the folds' hashes of that name in their order; None where a record names none."""
    hashes = [run.status.get(key) for run in members]
    return None if None in hashes else hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]


def _numbers(members: Sequence[FinishedRun]) -> dict[str, Any]:
    """The evaluated split's numbers, computed anew from what all folds said together.

    The loss is the mean of the folds' own, weighted by the number of photos or images.

    Raises:
        UserError: a record's predictions or label space are missing or damaged, classes or sizes differ, or two folds
            tested the same photo.
    """
    first = members[0]
    space = first.label_space
    if space is None:
        raise UserError(f"{first.record.path / 'metrics.json'}: the label space is missing or damaged")
    file = RESULT_FILES[first.task]
    parts = [run.results() for run in members]
    _require_apart(members, parts)
    numbers = file.summarize(file.join(parts), space) | _calibrated(members, parts) | _resolution(members)
    losses = _each(members, "loss")
    return numbers | ({"loss": float(np.average(losses, weights=list(map(len, parts))))} if losses else {})


def _calibrated(members: Sequence[FinishedRun], parts: Sequence[SplitResults]) -> dict[str, float]:
    """Calibration over all folds, each by the temperature that its own val photos gave; empty without these."""
    temperatures = _each(members, "temperature")
    photos = [part for part in parts if isinstance(part, Predictions)]
    if not temperatures or not photos:
        return {}
    labels = np.concatenate([part.labels for part in photos])
    each = zip(photos, temperatures, strict=True)
    probabilities = np.concatenate([apply_temperature(part.probabilities, t) for part, t in each])
    return calibration_numbers(probabilities, labels, "_calibrated")


def _each(members: Sequence[FinishedRun], key: str) -> list[float]:
    """A number of the evaluated split, one per fold; empty where a fold has none."""
    values = [run.test.get(key) for run in members]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return numbers if len(numbers) == len(values) else []


def _resolution(members: Sequence[FinishedRun]) -> dict[str, Any]:
    """The size of the masks that all folds were tested against; empty in records that do not tell."""
    sizes = {json.dumps(run.test.get("resolution")) for run in members}
    if len(sizes) > 1:
        found = " and ".join(sorted(sizes))
        raise UserError(f"its folds cannot be joined: they were tested against masks of different sizes, {found}")
    size = members[0].test.get("resolution")
    return {} if size is None else {"resolution": size}


def _require_apart(members: Sequence[FinishedRun], tested: Sequence[SplitResults]) -> None:
    """Raise UserError where a photo was tested twice or the classes are not the same."""
    if len({tuple(part.names) for part in tested}) > 1:
        raise UserError("its folds cannot be joined: their predictions are of different classes")
    folds_of: dict[str, list[int]] = defaultdict(list)
    for run, part in zip(members, tested, strict=True):
        for identity in part.ids:
            folds_of[identity].append(run.settings[FOLD])
    twice = {identity: folds for identity, folds in folds_of.items() if len(folds) > 1}
    if twice:
        first, folds = next(iter(twice.items()))
        several = f"{len(twice)} photos were tested twice, such as " if len(twice) > 1 else ""
        raise UserError(f"its folds overlap: {several}{first} by fold {' and fold '.join(map(str, folds))}")

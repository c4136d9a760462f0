"""Sentences below a leaderboard: the data and tests behind the numbers, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

from streetlab.compare.leaderboard import Row
from streetlab.compare.options import Options
from streetlab.compare.select import Selection, limit_key
from streetlab.compare.verdicts import Verdicts
from streetlab.metrics.catalogue import words
from streetlab.metrics.statistics.intervals import FEWEST_SEEDS

_MOST_NAMED = 3


def notes(selection: Selection, verdicts: Verdicts, options: Options) -> list[str]:
    """The measurement, the intervals, the tests, and what weakens them, in this order."""
    return [*_measurement(selection), *_intervals(selection, verdicts.rows), *_tests(selection, verdicts, options)]


def sentences(verdicts: Verdicts) -> list[str]:
    """Each test in a sentence, in the order of the ranks."""
    return [
        f"#{row.rank} {row.group.name} against #{verdicts.baseline.rank}: {row.comparison.sentence}"
        for row in verdicts.rows
        if row.comparison
    ]


def unit(selection: Selection) -> str:
    """Name the unit that n counts."""
    return selection.spec.noun


def _measurement(selection: Selection) -> list[str]:
    first = selection.runs[0]
    better = "higher" if selection.mode == "max" else "lower"
    counts = dict.fromkeys(str(group.runs[0].test.get("n", "–")) for group in selection.groups)
    told = [
        f"Ranked by {words(selection.metric)} on the {first.eval_split} split, "
        f"n = {' or '.join(counts)} {unit(selection)}; {better} is better."
    ]
    for folds in dict.fromkeys(len(run.by_fold) for run in selection.runs if run.by_fold):
        told.append(
            f"{folds} folds, out of fold: each of the {unit(selection)} was tested once, by the run of its fold, which "
            "neither learned from it nor chose its epoch by it; a seed's numbers are from all folds together, its "
            "minutes their sum, its other costs means (memory: the largest)."
        )
    if isinstance(size := first.test.get("resolution"), list):
        told.append(f"Measured against masks of {size[0]} × {size[1]} pixels (height × width).")
    if len(selection.splits) > 1:
        told.append(
            f"Tested on {len(selection.splits)} different splits, which the names tell: a rank above a row of "
            "another split can be the easier photos."
        )
    if all(not run.status.get("split_hash") for run in selection.runs):
        told.append(
            f"The records name no split hash, so it is not certain that the {first.eval_split} "
            f"{unit(selection)} are the same."
        )
    if isinstance(first.settings.get(limit_key(first)), int):
        told.append(f"These are debugging runs: only a part of the {first.eval_split} split was used.")
    return told


def _intervals(selection: Selection, rows: Sequence[Row]) -> list[str]:
    told = []
    alone = [row for row in rows if len(row.results) == 1]
    if any(row.interval for row in alone):
        told.append(
            f"Brackets: 95% interval of one run's {words(selection.metric)} over the {unit(selection)}"
            f"{', frames of one recording' if selection.spec.per_pixel else ', duplicates'} drawn together."
        )
    if not selection.spec.per_pixel and alone and selection.metric != "accuracy":
        told.append("Brackets beside accuracy: Wilson's 95% interval, as if no photo had a duplicate.")
    counts = [len(row.results) for row in rows]
    if max(counts) > 1:
        told.append("Over seeds: mean ± sample standard deviation, then each seed's value.")
    if max(counts) >= FEWEST_SEEDS:
        told.append("Brackets beside a mean: its 95% interval over seeds by Student's t.")
    if any(1 < count < FEWEST_SEEDS for count in counts):
        told.append("n < 5: not estimated. Fewer than five seeds give no interval over seeds.")
    if min(counts) < FEWEST_SEEDS:
        told.append("Fewer than five seeds: the order of close configurations can be chance.")
    return told


def _tests(selection: Selection, verdicts: Verdicts, options: Options) -> list[str]:
    told = []
    tested = [row.comparison for row in verdicts.rows if row.comparison]
    if tested:
        base, best = verdicts.baseline, " (the best, so its lead is partly luck)" if options.baseline is None else ""
        told.append(
            f"Baseline: #{base.rank} {base.group.name}{best}. Differences to it with 95% intervals over the "
            f"{unit(selection)} that both were tested on and, from two seeds a side on, over seeds; p is Holm's for "
            f"{len(tested)} test{'s' * (len(tested) > 1)}; equivalent: within ± {options.delta:g} (90% interval)."
        )
    if verdicts.beyond:
        told.append(
            f"Only the best {options.most_tested} are tested against the baseline; {verdicts.beyond} more are not "
            f"(most_tested={options.most_tested})."
        )
    if verdicts.other_splits:
        told.append(
            f"Of another split than the baseline, so never tested against it: {verdicts.other_splits} "
            f"configuration{'s' * (verdicts.other_splits > 1)}."
        )
    by_reason: dict[str, list[Row]] = {}
    for row, reason in verdicts.untested:
        by_reason.setdefault(reason, []).append(row)
    for reason, rows in list(by_reason.items())[:_MOST_NAMED]:
        named = ", ".join(f"#{row.rank} {row.group.name}" for row in rows[:_MOST_NAMED])
        more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
        told.append(f"Not tested: {named}{more}: {reason}.")
    unnamed = sum(map(len, list(by_reason.values())[_MOST_NAMED:]))
    return [*told, f"Not tested for the like reasons: {unnamed} more."] if unnamed else told

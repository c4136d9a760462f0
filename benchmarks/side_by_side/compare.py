"""Compare: a leaderboard's numbers beside those of pandas and scipy, the seconds, and the lines that a user writes."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from compare_speed import write_records

from side_by_side.processes import (
    Asked,
    Measured,
    as_numbers,
    lines_of_code,
    measure,
    ours,
    peer,
    shown,
    table,
    take_turns,
)

STREETLAB = "streetlab compare"
SCRIPT = "pandas_leaderboard"


def ask(options: argparse.Namespace, folder: Path) -> Asked:
    """Records of runs of five seeds each, ranked and tested by both sides."""
    count = 20 if options.quick else 200
    records = folder / "records"
    if not records.is_dir():
        write_records(records, count)

    def streetlab(round: int) -> Measured:
        output = folder / f"compare-{round}"
        done = measure(ours("compare", f"runs={records}", f"output={output}"), options)
        return replace(done, answer={"lines": 1, **_leaderboard(output / "leaderboard.csv")})

    def by_hand(round: int) -> Measured:
        command = peer(SCRIPT, options, records=records, output=folder / f"by-hand-{round}")
        done = measure(command, options, answers=True)
        return replace(done, answer={**done.answer, "lines": lines_of_code(SCRIPT)})

    measured, missing = take_turns({STREETLAB: streetlab, "pandas and scipy by hand": by_hand}, options, "comparing")
    columns = {"lines a user writes": shown("lines", 0), "rows tested": shown("tested", 0), "worse": shown("worse", 0)}
    title = f"A leaderboard of {count} records of synthetic runs, 112 photos and five seeds each"
    notes = [*_agreement(measured), "By hand there is neither a page nor curves nor costs, and Welch's test knows of "
             "seeds alone: not of photos, which all runs share, nor of copies among them."]  # fmt: skip
    return Asked([table(title, measured, missing, columns, STREETLAB, notes)], as_numbers(measured, missing))


def _leaderboard(path: Path) -> dict[str, object]:
    """What the other side answers as well, of leaderboard.csv."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "means": [float(row["test_macro_f1"]) for row in rows],
        "intervals": [[float(row[f"test_macro_f1_{end}95"]) for end in ("low", "high")] for row in rows],
        "tested": sum(bool(row["p_holm"]) for row in rows),
        "worse": sum(row["verdict"] == "worse" for row in rows),
    }


def _agreement(measured: Mapping[str, Sequence[Measured]]) -> list[str]:
    """One sentence on the largest differences between the numbers of both sides."""
    if len(measured) < 2:
        return []
    first, second = (values[-1].answer for values in measured.values())
    apart = {key: np.abs(np.subtract(first[key], second[key])).max() for key in ("means", "intervals")}
    return [
        f"Of {len(first['means'])} rows, mean macro-F1 differs by {apart['means']:.1e} at most, the ends of its 95% "
        f"interval over seeds by {apart['intervals']:.1e}."
    ]

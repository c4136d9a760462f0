"""The tables of a survey on disk: photos.csv and segments.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from streetlab.datasets.places import DIGITS
from streetlab.io import files
from streetlab.io.filenames import as_text
from streetlab.survey.photos import PROBABILITY

PHOTOS, SEGMENTS = "photos.csv", "segments.csv"
_PHOTO_COLUMNS = (
    "file", "lat", "lon", "time", "heading", "place", "place_note",
    "segment", "distance_m", "district", "stratum",
    "prediction", "confidence", PROBABILITY, "severity", "grade", "acceptable",
    "ground_share", "evidence_on_ground", "unlike_training", "picture", "error",
)  # fmt: skip
"""In this order as far as they are there; `p_` stands for those of all classes."""
_NOT_ON_DISK = ("path", "track_m", "track_run")
_DECIMALS = {"lat": DIGITS, "lon": DIGITS}
_FEWER = 6
"""Decimals of all other numbers."""


def photo_table(photos: pd.DataFrame) -> pd.DataFrame:
    """The columns of photos.csv, in its order; columns that the contract does not name come last."""
    named = [column for name in _PHOTO_COLUMNS for column in _columns(name, photos.columns)]
    others = [name for name in photos.columns if name not in named and name not in _NOT_ON_DISK]
    return photos[[*named, *others]]


def write_photos(output: Path, photos: pd.DataFrame) -> Path:
    """Write photos.csv, of a table of `photo_table`."""
    return _write(output / PHOTOS, photos, list(photos.columns))


def write_segments(output: Path, segments: pd.DataFrame) -> Path:
    """Write segments.csv: the table without its geometry."""
    return _write(output / SEGMENTS, segments, [name for name in segments.columns if name != "geometry"])


def _columns(name: str, columns: Sequence[str]) -> list[str]:
    return [column for column in columns if column == name or (name == PROBABILITY and column.startswith(name))]


def _write(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> Path:
    cells = {name: [_cell(name, value) for value in table[name].tolist()] for name in columns}
    rows = (dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True))
    return files.write_csv(path, rows, list(columns))


def _cell(name: str, value: Any) -> Any:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return round(value, _DECIMALS.get(name, _FEWER))
    return as_text(value) if isinstance(value, str) else value

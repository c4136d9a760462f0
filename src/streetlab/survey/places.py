"""Where each photo was taken: by its EXIF, a track or a table of positions."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from streetlab.datasets.places import position_fault, time_text
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import from_text
from streetlab.survey.csv_files import number_in, read_csv
from streetlab.survey.times import parse_time
from streetlab.survey.tracks import Track

_QUARTER = 900
"""Seconds: zones differ by multiples of it."""
_FARTHEST = 14 * 3600


def in_zone(photos: pd.DataFrame, zone: tzinfo | None, clock_offset: float) -> pd.DataFrame:
    """Photos with their times corrected by seconds, and in UTC where the times or `zone` give the zone."""
    if zone is None and clock_offset == 0:
        return photos
    return photos.assign(time=[_shifted(text, zone, clock_offset) for text in photos["time"]])


def place_by_track(photos: pd.DataFrame, track: Track) -> tuple[pd.DataFrame, list[str]]:
    """Place the photos whose time lies within the track; the others keep their places.

    Returns:
        The photos with `track_m`, metres along the track, and `track_run`; and notes, also on a shift of the clock
        that would place photos where not one is placed.
    """
    seconds = np.array([_seconds(text) for text in photos["time"]], dtype=np.float64)
    found = track.at(seconds)
    placed = found.run >= 0
    has_own = photos["place"].to_numpy() != "none"
    naive = np.array([bool(text) and math.isnan(value) for text, value in zip(photos["time"], seconds, strict=True)])
    why = ["its time has no zone; give time_zone=" if is_naive else reason
           for reason, is_naive in zip(found.why, naive, strict=True)]  # fmt: skip
    table = photos.assign(
        lat=np.where(placed, found.lat, photos["lat"]),
        lon=np.where(placed, found.lon, photos["lon"]),
        heading=np.where(placed & ~np.isnan(found.heading), found.heading.round(2), photos["heading"]),
        place=np.where(placed, "track", photos["place"]),
        place_note=np.where(placed | has_own, np.where(placed, "", photos["place_note"]), why),
        track_m=found.metres,
        track_run=found.run,
    )
    notes = list(track.notes)
    if not placed.any():
        notes.append(_no_overlap(seconds, naive, track))
    elif naive.any():
        notes.append(f"track: photos not on it because their times have no zone: {int(naive.sum())}; give time_zone=")
    return table, notes


def place_by_table(photos: pd.DataFrame, path: Path, zone: tzinfo | None) -> tuple[pd.DataFrame, list[str]]:
    """Place photos by a CSV file with the columns file, lat, lon and, where known, time and heading.

    A photo is named as in photos.csv, or by its last part alone where that is unique.

    Returns:
        The photos, and notes on rows of no photo and on positions that are none: such photos have no place. Rows
        without a position leave the photo's place.

    Raises:
        UserError: the file cannot be read, lacks a column, names a photo twice or has a word where a number belongs.
    """
    rows = read_csv("positions", path)
    columns = list(rows[0]) if rows else []
    for needed in ("file", "lat", "lon"):
        if needed not in columns:
            raise UserError(f"positions: {path} has no column '{needed}'{did_you_mean(needed, columns)}")
    index = {name: number for number, name in enumerate(photos["file"])}
    last_parts = Counter(PurePosixPath(name).name for name in index)
    by_last = {PurePosixPath(name).name: number for name, number in index.items()}
    values = {name: photos[name].tolist() for name in ("lat", "lon", "heading", "time", "place", "place_note")}
    seen: dict[int, int] = {}
    unknown, faults = [], []
    for line, row in enumerate(rows, 2):
        place, name = f"positions: {path}, line {line}", from_text(row["file"])
        number = index.get(name, by_last.get(name) if last_parts[name] == 1 else None)
        if number is None:
            unknown.append(f"{name or 'no name'} in line {line}")
            continue
        if number in seen:
            raise UserError(f"{place}: '{name}' has a position in line {seen[number]} already")
        seen[number] = line
        known: dict[str, float | str] = {}
        if row["lat"] or row["lon"]:
            lat, lon = (number_in(place, key, row[key]) if row[key] else math.nan for key in ("lat", "lon"))
            known = {"lat": lat, "lon": lon, "place": "positions", "place_note": ""}
            if fault := position_fault(lat, lon):
                faults.append(f"{name} in line {line}: {fault}")
                note = f"its {fault} (positions, line {line})"
                known = {"lat": math.nan, "lon": math.nan, "place": "none", "place_note": note}
        if row.get("heading"):
            known["heading"] = number_in(place, "heading", row["heading"]) % 360
        if row.get("time"):
            known["time"] = _time_in(place, row["time"], zone)
        for key, value in known.items():
            values[key][number] = value
    notes = []
    if unknown:
        notes.append(f"positions: {len(unknown)} of {len(rows)} rows are of no photo, first {unknown[0]}")
    if faults:
        notes.append(f"positions: {len(faults)} of {len(rows)} rows hold no position, first {faults[0]}")
    return photos.assign(**values), notes


def _time_in(place: str, text: str, zone: tzinfo | None) -> str:
    try:
        return time_text(parse_time(text, zone))
    except ValueError:
        raise UserError(f"{place}: time is '{text}', not one in ISO 8601 (2025-03-14T08:00:00Z)") from None


def _shifted(text: str, zone: tzinfo | None, offset: float) -> str:
    try:
        return time_text(parse_time(text, zone) + timedelta(seconds=offset)) if text else text
    except (ValueError, OverflowError):
        return text


def _seconds(text: str) -> float:
    """Seconds since 1970 of a time with a zone; NaN of any other."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return math.nan
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else math.nan


def _no_overlap(seconds: np.ndarray, naive: np.ndarray, track: Track) -> str:
    """Why not one photo lies on the track, and the shift of the clock that would place most, where there is one."""
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        reason = "their times have no zone; give time_zone=" if naive.any() else "they have no times"
        return f"track: no photo is on it: {reason}"
    shifts = np.arange(-_FARTHEST, _FARTHEST + 1, _QUARTER)
    counts = [
        int(((known + shift >= track.seconds[0]) & (known + shift <= track.seconds[-1])).sum()) for shift in shifts
    ]
    best = int(shifts[int(np.argmax(counts))])
    start, end = (time_text(datetime.fromtimestamp(each, UTC)) for each in (known.min(), known.max()))
    line = f"track: no photo is on it: it is from {track.span}, the photos from {start} to {end}"
    if max(counts) == 0:
        return line
    return f"{line}; clock_offset={best} would place {max(counts)}: the camera may have had another time zone"

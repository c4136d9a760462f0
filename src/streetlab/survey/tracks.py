"""A recorded track: positions by time, from GPX, CSV and GeoJSON, and where it was at other times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import gpxpy
import numpy as np
from numpy.typing import NDArray

from streetlab.datasets.places import position_fault, time_text
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.survey.csv_files import read_csv
from streetlab.survey.projection import GEOD
from streetlab.survey.times import parse_time

FORMATS = (".gpx", ".csv", ".geojson", ".json")
_NAMES = {
    "time": ("time", "timestamp", "datetime", "utc"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "longitude", "lng", "long"),
}
"""Columns of a CSV file and properties of GeoJSON, in lower case."""
_STANDING = 0.5
"""Metres between two points below which there is no direction."""

Floats = NDArray[np.float64]
Point = tuple[str, float, float, datetime | str | None]
"""What a message calls it, latitude, longitude, time."""


@dataclass(frozen=True, eq=False)
class TrackPositions:
    """Positions of a track at N times; NaN where there is none.

    Attributes:
        lat, lon: (N,) degrees.
        heading: (N,) degrees clockwise from true north, NaN also where the track stands still.
        metres: (N,) along the track, gaps not counted.
        run: (N,) the part of the track without gaps that each lies in; -1 where there is none.
        why: (N,) the reasons why there is none.
    """

    lat: Floats
    lon: Floats
    heading: Floats
    metres: Floats
    run: NDArray[np.int64]
    why: list[str]


@dataclass(frozen=True, eq=False)
class Track:
    """Positions in the order of time.

    Attributes:
        seconds: (N,) since 1970 in UTC, rising.
        lat, lon: (N,) degrees.
        max_gap: seconds between two points, beyond which nothing is known of what lies between.
        azimuth: (N - 1,) degrees from each point to the next.
        steps: (N - 1,) metres along the ellipsoid from each point to the next; 0 over gaps.
        run: (N,) the part without gaps that each point lies in, from 0.
        notes: what the reader should know of how it was read.
    """

    seconds: Floats
    lat: Floats
    lon: Floats
    max_gap: float
    azimuth: Floats
    steps: Floats
    run: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, seconds: Floats, lat: Floats, lon: Floats, max_gap: float, notes: Iterable[str] = ()) -> Track:
        """A track of points in the order of time."""
        azimuth, _, steps = GEOD.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
        gap = np.diff(seconds) > max_gap
        run = np.concatenate([[0], np.cumsum(gap)])
        return cls(seconds, lat, lon, max_gap, azimuth, np.where(gap, 0.0, steps), run, tuple(notes))

    @property
    def metres(self) -> Floats:
        """(N,) from the first point along the track, gaps not counted."""
        return np.concatenate([[0.0], np.cumsum(self.steps)])

    @property
    def span(self) -> str:
        """From when to when it is."""
        start, end = (time_text(datetime.fromtimestamp(each, UTC)) for each in (self.seconds[0], self.seconds[-1]))
        return f"{start} to {end}"

    def at(self, seconds: Floats) -> TrackPositions:
        """The positions at these times, along the geodesic between the two points around each; none over a gap."""
        before = np.clip(np.searchsorted(self.seconds, seconds, side="right") - 1, 0, max(len(self.seconds) - 2, 0))
        if len(self.seconds) == 1:
            exact = seconds == self.seconds[0]
            along, step, azimuth, duration = (np.zeros(len(seconds)) for _ in range(4))
            inside, on_gap = exact, np.zeros(len(seconds), dtype=bool)
        else:
            inside = (seconds >= self.seconds[0]) & (seconds <= self.seconds[-1])
            duration = np.diff(self.seconds)[before]
            along = np.where(inside, seconds - self.seconds[before], 0.0)
            at_end = along == duration
            on_gap = inside & (duration > self.max_gap) & (along > 0) & ~at_end
            step, azimuth = self.steps[before], self.azimuth[before]
        share = np.divide(along, duration, out=np.zeros(len(seconds)), where=duration > 0)
        known = inside & ~on_gap
        lon, lat, _ = GEOD.fwd(self.lon[before], self.lat[before], azimuth, step * share)
        ends = known & (share == 1)  # the point itself, also behind a gap, over which steps are 0
        after = np.minimum(before + 1, len(self.seconds) - 1)
        lon, lat = np.where(ends, self.lon[after], lon), np.where(ends, self.lat[after], lat)
        why = [
            "" if known[number] else self._why(float(seconds[number]), bool(on_gap[number]), float(duration[number]))
            for number in range(len(seconds))
        ]
        return TrackPositions(
            np.where(known, lat, np.nan),
            np.where(known, lon, np.nan),
            np.where(known & (step >= _STANDING), azimuth % 360, np.nan),
            np.where(known, self.metres[before] + step * share, np.nan),
            np.where(known, np.where(ends, self.run[after], self.run[before]), -1),
            why,
        )

    def _why(self, seconds: float, on_gap: bool, duration: float) -> str:
        if not math.isfinite(seconds):
            return "it has no time"
        if on_gap:
            return f"the track has a gap of {duration:.0f} s then (max_gap={self.max_gap:g})"
        early = seconds < self.seconds[0]
        off = self.seconds[0] - seconds if early else seconds - self.seconds[-1]
        return f"its time is {off:.0f} s {'before the start' if early else 'after the end'} of the track"


def read_track(path: Path, zone: tzinfo | None, max_gap: float) -> Track:
    """Read a track.

    Points without a usable position or time are left out and counted; points that are out of order are sorted by time;
    of several positions at one time the first counts. Each is noted.

    Args:
        path: GPX, CSV (columns time, lat, lon), or GeoJSON (points with a time; lines with `coordTimes`).
        zone: of times that have none.

    Raises:
        UserError: the file cannot be read, has no points with times, or times without a zone.
    """
    read = {".gpx": _gpx, ".csv": _csv}.get(path.suffix.lower(), _geojson)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"track: {path.name} is none of {', '.join(FORMATS)}")
    seconds, lats, lons, faults = [], [], [], []
    for name, lat, lon, time in read(path):
        fault = position_fault(lat, lon) or ("" if time else "no time")
        if fault:
            faults.append(f"{name}: {fault}")
            continue
        seconds.append(_timestamp(path, name, time, zone))
        lats.append(lat)
        lons.append(lon)
    if not seconds:
        raise UserError(f"track: {path} has no points with positions and times{f' ({faults[0]})' if faults else ''}")
    notes = [f"track: points left out: {len(faults)}, first {faults[0]}"] if faults else []
    times, degrees = np.array(seconds, dtype=np.float64), np.column_stack([lats, lons]).astype(np.float64)
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        first = time_text(datetime.fromtimestamp(times[backwards[0] + 1], UTC))
        notes.append(f"track: times run backwards at {first}{_times(len(backwards))}; points are sorted by time")
    order = np.argsort(times, kind="stable")
    times, degrees = times[order], degrees[order]
    again = np.concatenate([[False], np.diff(times) == 0])
    moved = again & np.concatenate([[False], (np.diff(degrees, axis=0) != 0).any(axis=1)])
    if moved.any():
        first = time_text(datetime.fromtimestamp(times[np.flatnonzero(moved)[0]], UTC))
        notes.append(f"track: two positions at {first}{_times(int(moved.sum()))}; the first one counts")
    lat, lon = degrees[~again].T
    return Track.of(times[~again], lat, lon, max_gap, notes)


def _times(count: int) -> str:
    return f", and {count - 1} more times" if count > 1 else ""


def _timestamp(path: Path, name: str, time: Any, zone: tzinfo | None) -> float:
    try:
        moment = parse_time(time if isinstance(time, str) else time.isoformat(), zone)
    except ValueError:
        raise UserError(f"track: {path}, {name}: '{time}' is not a time in ISO 8601 (2025-03-14T08:00:00Z)") from None
    if moment.tzinfo is None:
        raise UserError(
            f"track: {path}, {name}: the time {time} has no zone; give time_zone=Europe/Amsterdam, or +02:00"
        )
    return moment.timestamp()


def _gpx(path: Path) -> Iterator[Point]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            gpx = gpxpy.parse(file)
    except (OSError, UnicodeDecodeError, ValueError, gpxpy.gpx.GPXException) as error:
        raise UserError(f"track: {path} cannot be read ({first_line(error)})") from None
    points = (point for track in gpx.tracks for segment in track.segments for point in segment.points)
    for number, point in enumerate(points, 1):
        yield f"point {number}", point.latitude, point.longitude, point.time


def _csv(path: Path) -> Iterator[Point]:
    rows = read_csv("track", path)
    columns = {name.lower(): name for name in (rows[0] if rows else {})}
    chosen = {}
    for key, names in _NAMES.items():
        column = next((columns[name] for name in names if name in columns), None)
        if column is None:
            raise UserError(f"track: {path} has no column '{key}'{did_you_mean(key, list(columns))}")
        chosen[key] = column
    for number, row in enumerate(rows, 2):
        lat, lon = (_float(row[chosen[key]]) for key in ("lat", "lon"))
        yield f"line {number}", lat, lon, row[chosen["time"]] or None


def _geojson(path: Path) -> Iterator[Point]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        points = [((*place, None, None)[:2], time) for each in features for place, time in _positions(each)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"track: {path} is no GeoJSON of points or lines with times ({first_line(error)})") from None
    for number, ((lon, lat), time) in enumerate(points, 1):
        yield f"point {number}", _float(lat), _float(lon), time and str(time)


def _positions(feature: Mapping[str, Any]) -> Iterator[tuple[list[Any], Any]]:
    """Each position of a feature with its time; a line has the times of its positions in its properties."""
    geometry: Mapping[str, Any] = feature.get("geometry") or {}
    properties: Mapping[str, Any] = feature.get("properties") or {}
    kind: str = geometry.get("type", "")
    coordinates: list[Any] = geometry.get("coordinates") or []
    if kind == "Point":
        yield coordinates, next((properties[key] for key in properties if key.lower() in _NAMES["time"]), None)
    elif kind in ("LineString", "MultiLineString"):
        times = properties.get("coordTimes") or (properties.get("coordinateProperties") or {}).get("times") or []
        lines, by_line = ([coordinates], [times]) if kind == "LineString" else (coordinates, times)
        for line, moments in zip(lines, (*by_line, *[[]] * len(lines)), strict=False):
            yield from zip(line, (*moments, *[None] * len(line)), strict=False)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan

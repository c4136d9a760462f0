"""Stretches of a track as segments, where there is no file of streets."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import LineString

from streetlab.survey.projection import GEOD, WGS84, lengths
from streetlab.survey.segments import Segments
from streetlab.survey.streets import match
from streetlab.survey.tracks import Track


def into_stretches(photos: pd.DataFrame, track: Track, stretch: float, snap: float) -> tuple[pd.DataFrame, Segments]:
    """Cut a track into stretches, and give each photo its own.

    Photos that the track has placed lie on the stretch of their time, also where the track passes twice; others go to
    the nearest within `snap` metres.

    Args:
        photos: with `track_m` and `track_run` besides their places.
        stretch: metres; the last one of each part without gaps is shorter.
    """
    metres = track.metres
    rows: list[tuple[str, str]] = []
    lines: list[LineString] = []
    first, starts = [], []
    for run in range(track.run[-1] + 1):
        points = np.flatnonzero(track.run == run)
        start, end = metres[points[0]], metres[points[-1]]
        count = max(1, int(np.ceil(round((end - start) / stretch, 6)))) if end > start else 0
        first.append(len(rows))
        starts.append(start)
        for number in range(count):
            low, high = start + number * stretch, min(start + (number + 1) * stretch, end)
            lines.append(_line(track, metres, points, low, high))
            rows.append((f"{len(rows) + 1:06d}", f"{low / 1000:.3f} to {high / 1000:.3f} km"))
    ids = [segment for segment, _ in rows]
    table = gpd.GeoDataFrame(
        {
            "segment": ids,
            "name": [name for _, name in rows],
            "length_m": lengths(np.array(lines, dtype=object)).round(2),
            "district": "",
            "stratum": "",
        },
        geometry=lines,
        crs=WGS84,
    )
    segments = Segments(table, "stretches", False)
    photos = match(photos, segments, snap)
    by_track = np.flatnonzero((photos["place"] == "track") & photos["track_m"].notna())
    column, distance = photos["segment"].to_numpy(object).copy(), photos["distance_m"].to_numpy(np.float64).copy()
    counts = np.diff([*first, len(rows)])
    for row in by_track:
        run = int(photos["track_run"].iloc[row])
        if counts[run]:
            number = min(int((photos["track_m"].iloc[row] - starts[run]) / stretch), int(counts[run]) - 1)
            column[row], distance[row] = ids[first[run] + number], 0.0
    return photos.assign(segment=column, distance_m=distance), segments


def _line(track: Track, metres: np.ndarray, points: np.ndarray, low: float, high: float) -> LineString:
    """The track from `low` to `high` metres, within one part without gaps."""
    inside = points[(metres[points] > low) & (metres[points] < high)]
    ends = []
    for at in (low, high):
        before = points[max(int(np.searchsorted(metres[points], at, side="right")) - 1, 0)]
        before = min(before, points[-2])
        lon, lat, _ = GEOD.fwd(track.lon[before], track.lat[before], track.azimuth[before], at - metres[before])
        ends.append((lon, lat))
    return LineString([ends[0], *zip(track.lon[inside], track.lat[inside], strict=True), ends[1]])

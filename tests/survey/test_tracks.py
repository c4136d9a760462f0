"""Positions along a track by time, against gpxpy; what is wrong with a track is said in one line."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import gpxpy
import numpy as np
import pandas as pd
import pytest
from pyproj import Geod

from streetlab.errors import UserError
from streetlab.survey.places import in_zone, place_by_table, place_by_track
from streetlab.survey.stretches import into_stretches
from streetlab.survey.times import parse_zone
from streetlab.survey.tracks import read_track

GEOD = Geod(ellps="WGS84")
NAN = float("nan")
NOON = datetime(2025, 3, 14, 12, tzinfo=UTC)
POINTS = [(0, 52.0, 4.0), (10, 52.001, 4.0), (20, 52.001, 4.002), (200, 52.002, 4.002), (210, 52.003, 4.002)]
"""Seconds after noon, latitude, longitude: 111 m north, 137 m east, a gap of three minutes, 111 m north."""


def gpx(path: Path, points=POINTS, zone: str = "Z") -> Path:
    lines = "".join(
        f'<trkpt lat="{lat}" lon="{lon}">'
        + (
            f"<time>{(NOON + timedelta(seconds=at)).strftime('%Y-%m-%dT%H:%M:%S')}{zone}</time>"
            if at is not None
            else ""
        )
        + "</trkpt>"
        for at, lat, lon in points
    )
    path.write_text(
        f'<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{lines}</trkseg></trk></gpx>'
    )
    return path


def seconds(*after_noon: float) -> np.ndarray:
    return NOON.timestamp() + np.array(after_noon, dtype=np.float64)


def photos(*times: str) -> pd.DataFrame:
    rows = {"file": [f"{number}.jpg" for number in range(len(times))], "time": list(times)}
    return pd.DataFrame(rows).assign(lat=np.nan, lon=np.nan, heading=np.nan, place="none", place_note="no GPS")


def test_a_real_track_is_where_gpxpy_has_it_within_a_metre(shared_data):
    path = shared_data("geo") / "tracks" / "sf_30km_h.gpx"
    points = gpxpy.parse(path.read_text()).tracks[0].segments[0].points
    track = read_track(path, None, 120)
    moments = np.array([point.time.timestamp() for point in points])
    found = track.at(moments)
    assert list(found.lat) == pytest.approx([point.latitude for point in points], abs=1e-9)
    assert list(found.lon) == pytest.approx([point.longitude for point in points], abs=1e-9)
    between = moments[:-1] + np.diff(moments) * 0.3
    halfway = track.at(between)
    for number, (first, second) in enumerate(itertools.pairwise(points)):
        lat = first.latitude + 0.3 * (second.latitude - first.latitude)
        lon = first.longitude + 0.3 * (second.longitude - first.longitude)
        assert GEOD.inv(lon, lat, halfway.lon[number], halfway.lat[number])[2] < 1
    length = gpxpy.geo.length([gpxpy.geo.Location(point.latitude, point.longitude) for point in points])
    assert track.metres[-1] == pytest.approx(length, rel=0.005)  # gpxpy measures on a sphere


def test_positions_run_along_geodesics_and_never_over_a_gap(tmp_path):
    track = read_track(gpx(tmp_path / "a.gpx"), None, 15)
    found = track.at(seconds(5, 15, 20, 20.5, 199, 200, 205, 210, 210.5, -3))
    assert found.lat[:3] == pytest.approx([52.0005, 52.001, 52.001], abs=1e-7)
    assert found.lon[:3] == pytest.approx([4.0, 4.001, 4.002], abs=1e-7)
    assert found.heading[[0, 1, 6]] == pytest.approx([0, 90, 0], abs=0.01)
    assert list(np.isnan(found.lat)) == [False, False, False, True, True, False, False, False, True, True]
    assert list(found.run) == [0, 0, 0, -1, -1, 1, 1, 1, -1, -1]
    assert found.metres[[0, 7]] == pytest.approx([55.63, 111.26 + 137.3 + 111.26], abs=0.1)
    assert found.why[3] == "the track has a gap of 180 s then (max_gap=15)"
    assert found.why[8] == "its time is 0 s after the end of the track"
    assert found.why[9] == "its time is 3 s before the start of the track"
    assert not np.isnan(read_track(tmp_path / "a.gpx", None, 180).at(seconds(110)).lat[0])


def test_every_format_gives_the_same_track(tmp_path):
    expected = read_track(gpx(tmp_path / "a.gpx"), None, 15)
    times = [(NOON + timedelta(seconds=at)).isoformat() for at, _, _ in POINTS]
    rows = "".join(f"{lon},{time},{lat}\n" for time, (_, lat, lon) in zip(times, POINTS, strict=True))
    (tmp_path / "a.csv").write_text(f"Longitude,Timestamp,lat\n{rows}", encoding="utf-8-sig")
    coordinates = [[lon, lat, 7.0] for _, lat, lon in POINTS]
    line = {
        "type": "Feature",
        "properties": {"coordTimes": times},
        "geometry": {"type": "LineString", "coordinates": coordinates},
    }
    (tmp_path / "line.geojson").write_text(json.dumps(line))
    features = [
        {"type": "Feature", "properties": {"time": time}, "geometry": {"type": "Point", "coordinates": place}}
        for time, place in zip(times, coordinates, strict=True)
    ]
    (tmp_path / "points.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for name in ("a.csv", "line.geojson", "points.json"):
        track = read_track(tmp_path / name, None, 15)
        for key in ("seconds", "lat", "lon", "run"):
            assert list(getattr(track, key)) == list(getattr(expected, key)), name
        assert track.notes == ()


def test_times_without_a_zone_take_the_one_that_is_given(tmp_path):
    path = gpx(tmp_path / "a.csv".replace("csv", "gpx"), zone="")
    with pytest.raises(
        UserError, match=r"point 1: the time 2025-03-14 12:00:00 has no zone; give time_zone=Europe/Ams"
    ):
        read_track(path, None, 15)
    for zone in ("Europe/Amsterdam", "+01:00"):
        assert read_track(path, parse_zone(zone), 15).seconds[0] == NOON.timestamp() - 3600
    assert parse_zone("-03:30") == timezone(-timedelta(hours=3, minutes=30))
    with pytest.raises(UserError, match=r"^time_zone: no zone 'Europe/Amsterdm'; did you mean 'Europe/Amsterdam'\?"):
        parse_zone("Europe/Amsterdm")


@pytest.mark.parametrize(
    ("points", "note"),
    [
        (
            [POINTS[0], POINTS[2], POINTS[1]],
            "times run backwards at 2025-03-14T12:00:10Z; points are sorted by time",
        ),
        (
            [POINTS[0], (0, 53.0, 4.0), *POINTS[1:3]],
            "two positions at 2025-03-14T12:00:00Z; the first one counts",
        ),
        ([POINTS[0], (5, NAN, 4.0), *POINTS[1:3]], "points left out: 1, first point 2: position nan, 4: not finite"),
        (
            [POINTS[0], (5, 99.0, 4.0), (6, 0, 0), *POINTS[1:3]],
            "points left out: 2, first point 2: position 99, 4: out",
        ),
        ([POINTS[0], (None, 52.0, 4.0), *POINTS[1:3]], "points left out: 1, first point 2: no time"),
        ([POINTS[0], POINTS[0], *POINTS[1:3]], None),
    ],
)
def test_points_that_do_not_fit_are_noted_and_the_others_count(points, note, tmp_path):
    track = read_track(gpx(tmp_path / "a.gpx", points), None, 15)
    assert len(track.notes) == (note is not None)
    assert all(line.startswith(f"track: {note}") for line in track.notes)
    assert list(track.lon) == [4.0, 4.0, 4.002]
    assert list(track.lat) == [52.0, 52.001, 52.001]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.gpx", "<gpx", "track: a.gpx cannot be read ("),
        ("a.gpx", '<gpx version="1.1"></gpx>', "track: a.gpx has no points with positions and times"),
        ("a.csv", "tiem,lat,lon\n", "track: a.csv has no column 'time'"),
        ("a.csv", "time,lat,lon\nnoon,1,1\n", "track: a.csv, line 2: 'noon' is not a time in ISO 8601"),
        ("a.csv", "time,lat,lon\n2025-03-14T12:00:00Z,x,1\n", "track: a.csv has no points with positions and times ("),
        ("a.geojson", "[]", "track: a.geojson is no GeoJSON of points or lines with times"),
        ("a.kml", "", "track: a.kml is none of .gpx, .csv, .geojson, .json"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_track_is_one_line(name, text, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    with pytest.raises(UserError) as refused:
        read_track(Path(name), None, 15)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_photos_off_the_track_keep_their_places_and_learn_why(tmp_path):
    track = read_track(gpx(tmp_path / "a.gpx"), None, 15)
    table = photos("2025-03-14T12:00:05Z", "2025-03-14T12:01:00Z", "2025-03-14T13:00:05", "", "2025-03-14T12:00:06Z")
    table.loc[4, ["lat", "lon", "place", "place_note"]] = [1.0, 2.0, "exif", ""]
    placed, notes = place_by_track(table, track)
    assert list(placed["place"]) == ["track", "none", "none", "none", "track"]
    gap, naive = "the track has a gap of 180 s then (max_gap=15)", "its time has no zone; give time_zone="
    assert list(placed["place_note"]) == ["", gap, naive, "it has no time", ""]
    assert notes == ["track: photos not on it because their times have no zone: 1; give time_zone="]
    zoned, notes = place_by_track(in_zone(table, parse_zone("+01:00"), 0), track)
    assert list(zoned["place"]) == ["track", "none", "track", "none", "track"]
    assert notes == []


def test_a_camera_in_another_time_zone_is_told_of_with_the_shift_that_helps(tmp_path):
    track = read_track(gpx(tmp_path / "a.gpx"), None, 15)
    table = photos("2025-03-14T14:00:02Z", "2025-03-14T14:00:12Z")
    placed, notes = place_by_track(table, track)
    assert placed["place_note"].iloc[0] == "its time is 6992 s after the end of the track"
    assert notes == [
        "track: no photo is on it: it is from 2025-03-14T12:00:00Z to 2025-03-14T12:03:30Z, the photos from "
        "2025-03-14T14:00:02Z to 2025-03-14T14:00:12Z; clock_offset=-7200 would place 2: the camera may have had "
        "another time zone"
    ]
    placed, notes = place_by_track(in_zone(table, None, -7200), track)
    assert (list(placed["place"]), notes) == (["track", "track"], [])
    _, (note,) = place_by_track(photos("2020-01-01T00:00:00Z"), track)
    assert note.endswith("the photos from 2020-01-01T00:00:00Z to 2020-01-01T00:00:00Z")
    _, (note,) = place_by_track(photos("2025-03-14T12:00:02"), track)
    assert note == "track: no photo is on it: their times have no zone; give time_zone="


def test_stretches_are_as_long_as_asked_and_hold_the_photos_of_their_time(tmp_path):
    track = read_track(gpx(tmp_path / "a.gpx"), None, 15)
    table, _ = place_by_track(
        photos(*(f"2025-03-14T12:{at}Z" for at in ("00:00", "00:05", "00:15", "00:20", "03:25"))), track
    )
    placed, segments = into_stretches(table, track, 100, 25)
    assert list(segments.table["length_m"]) == pytest.approx([100, 100, 48.6, 100, 11.3], abs=0.1)
    assert list(segments.table["segment"]) == ["000001", "000002", "000003", "000004", "000005"]
    assert list(placed["segment"]) == ["000001", "000001", "000002", "000003", "000004"]
    assert segments.table.geometry.is_valid.all()
    assert segments.table.geometry.iloc[0].coords[0] == pytest.approx((4.0, 52.0))


def test_a_table_of_positions_places_photos_by_their_names(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text(
        "file,lat,lon,time,heading\n0.jpg,52,4,2025-03-14T12:00:00+01:00,370\na/1.jpg,95,4,,\nwho.jpg,1,2,,\n2.jpg,,,,\n"
    )
    table = photos("", "", "2025-03-14T12:00:02")
    table["file"] = ["week/0.jpg", "a/1.jpg", "2.jpg"]
    placed, notes = place_by_table(table, path, None)
    first = placed.iloc[0]
    assert (first["lat"], first["lon"], first["heading"], first["place"]) == (52, 4, 10, "positions")
    assert first["time"] == "2025-03-14T11:00:00Z"
    assert list(placed["place"]) == ["positions", "none", "none"]
    assert placed["place_note"].iloc[1] == (
        "its position 95, 4: out of range (latitude -90 to 90, longitude -180 to 180) (positions, line 3)"
    )
    assert notes == [
        "positions: 1 of 4 rows are of no photo, first who.jpg in line 4",
        "positions: 1 of 4 rows hold no position, first a/1.jpg in line 3: position 95, 4: out of range (latitude "
        "-90 to 90, longitude -180 to 180)",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,lat\n0.jpg,1\n", "has no column 'lon'"),
        ("file,lat,lon\n0.jpg,1,2\n0.jpg,1,2\n", "line 3: '0.jpg' has a position in line 2 already"),
        ("file,lat,lon\n0.jpg,north,2\n", "line 2: lat is 'north', not a number"),
        ("file,lat,lon,time\n0.jpg,1,2,noon\n", "line 2: time is 'noon', not one in ISO 8601"),
    ],
)
def test_a_table_of_positions_that_contradicts_itself_is_one_line(text, line, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        place_by_table(photos(""), path, None)
    assert line in str(refused.value)

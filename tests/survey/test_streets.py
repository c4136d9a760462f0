"""The street of each photo, against brute force along the ellipsoid; files that hold no usable streets."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod
from shapely import LineString, MultiLineString, Point, Polygon
from tests.support.street_files import write_features

from streetlab.errors import UserError
from streetlab.survey.districts import add_districts, read_districts
from streetlab.survey.segments import Segments
from streetlab.survey.streets import match, read_streets

GEOD = Geod(ellps="WGS84")
NAN = float("nan")
LINE = LineString([(4, 50), (5, 50)])


def photos(*places: tuple[float, ...]) -> pd.DataFrame:
    """Photos at (longitude, latitude[, heading])."""
    lon, lat, heading = np.array([(*place, NAN)[:3] for place in places], dtype=np.float64).T
    return pd.DataFrame({"lat": lat, "lon": lon, "heading": heading})


def matched(tmp_path, lines, *places, snap=25.0) -> pd.DataFrame:
    ids = {"id": [str(number) for number in range(len(lines))]}
    path = write_features(tmp_path / "streets.geojson", lines, ids, "EPSG:4326")
    return match(photos(*places), read_streets(path, "id"), snap)


def metres_to(line: LineString, lon: float, lat: float) -> float:
    """The distance along the ellipsoid to the nearest of points 10 cm apart on the line."""
    lons, lats = shapely.get_coordinates(line.segmentize(1e-6)).T
    return float(GEOD.inv(np.full(lons.shape, lon), np.full(lats.shape, lat), lons, lats)[2].min())


@pytest.mark.parametrize(("lon", "lat"), [(4.9, 52.4), (-70.6, -33.5), (179.9995, -16.5), (25.0, 89.99), (0.0, 0.0)])
def test_the_nearest_street_is_that_of_brute_force_also_at_the_antimeridian_and_the_poles(lon, lat, tmp_path):
    random = np.random.default_rng(3)
    east = 1e-3 / max(np.cos(np.radians(lat)), 1e-3)
    starts = np.array([lon, lat]) + random.uniform(-2, 2, (12, 2)) * [east, 1e-3]
    ends = starts + random.uniform(-1, 1, (12, 2)) * [east, 1e-3]
    places = np.array([lon, lat]) + random.uniform(-2, 2, (25, 2)) * [east, 1e-3]
    wrapped = [np.column_stack([(each[:, 0] + 180) % 360 - 180, each[:, 1]]) for each in (starts, ends, places)]
    starts, ends, places = wrapped
    lines = [LineString([start, end]) for start, end in zip(starts, ends, strict=True)]
    result = matched(tmp_path, lines, *map(tuple, places), snap=60)
    far = abs(lon) > 170
    steps = (ends - starts + 180) % 360 - 180 if far else ends - starts
    unwrapped = [LineString([start, start + step]) for start, step in zip(starts, steps, strict=True)]
    if lat < 89:  # there a line in degrees is an arc, which is not what is meant
        for (x, y), row in zip(places, result.itertuples(), strict=True):
            metres = [metres_to(line, x, y) for line in unwrapped]
            if min(metres) < 59:
                assert row.segment == str(int(np.argmin(metres)))
                assert row.distance_m == pytest.approx(min(metres), abs=0.15)
            elif min(metres) > 61:
                assert (row.segment, np.isnan(row.distance_m)) == ("", True)
    assert (result["segment"] != "").sum() >= 5


def test_at_a_crossing_the_heading_decides_and_elsewhere_the_distance(tmp_path):
    east, north = LineString([(4.0, 52.0), (4.01, 52.0)]), LineString([(4.005, 51.995), (4.005, 52.005)])
    near_crossing = (4.005 + 3e-5, 52.0 + 4e-5)  # 2 m from the street to the north, 4.5 m from the one to the east
    middle = (4.008, 52.0 + 2e-5)
    result = matched(
        tmp_path, [east, north],
        near_crossing, (*near_crossing, 92.0), (*near_crossing, 268.0), (*near_crossing, 1.0),
        (*middle, 0.0),
    )  # fmt: skip
    assert list(result["segment"]) == ["1", "0", "0", "1", "0"]


def test_every_format_and_crs_gives_the_same_streets(tmp_path):
    lines = [
        LineString([(4.9, 52.3), (4.91, 52.31), (4.92, 52.31)]),
        MultiLineString([[(5, 52), (5.01, 52)], [(5.02, 52), (5.03, 52)]]),
    ]
    attributes = {"id": [7, 8], "name": ["Straße", None], "use": ["homes", "shops"]}
    for name, crs in (
        ("a.gpkg", "EPSG:28992"),
        ("a.geojson", "EPSG:4326"),
        ("a.shp", "EPSG:3857"),
        ("b.gpkg", "EPSG:4326"),
    ):
        segments = read_streets(write_features(tmp_path / name, lines, attributes, crs), "id", strata="use")
        table = segments.table
        assert table.crs == "EPSG:4326"
        assert list(table["segment"]) == ["7", "8"]
        assert list(table["name"]) == ["Straße", ""]
        assert list(table["stratum"]) == ["homes", "shops"]
        assert list(table["length_m"]) == pytest.approx([GEOD.geometry_length(line) for line in lines], abs=0.1)
        assert segments.population
        assert segments.notes == ()


def test_ids_made_of_geometry_outlive_the_order_and_copies_of_lines(tmp_path):
    lines = [LineString([(number, 50), (number + 0.01, 50)]) for number in range(4)]
    first = read_streets(write_features(tmp_path / "a.gpkg", lines, crs="EPSG:4326")).table
    again = read_streets(write_features(tmp_path / "b.geojson", [*lines[::-1], lines[2]], crs="EPSG:4326"))
    assert list(again.table["segment"]) == list(first["segment"])
    assert again.notes == ("streets: 5 lines are 4 streets: lines that are there twice count once",)


def test_lines_of_one_id_are_one_street(tmp_path):
    lines = [LineString([(4, 50), (4.01, 50)]), LineString([(4.01, 50), (4.02, 50)]), LineString([(5, 50), (5, 50.01)])]
    segments = read_streets(write_features(tmp_path / "a.gpkg", lines, {"way": ["x", "x", None]}, "EPSG:4326"), "way")
    lengths = {row.segment: row.length_m for row in segments.table.itertuples()}
    assert lengths.pop("x") == pytest.approx(GEOD.line_length([4, 4.02], [50, 50]), abs=0.05)
    assert len(lengths) == 1
    assert segments.notes == (
        "streets: 1 of 3 have no way; theirs are made of the geometry",
        "streets: 3 lines are 2 streets: lines of the same way are one street",
    )


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_features_that_are_no_street_are_left_out_and_counted(tmp_path):
    good = LineString([(4, 50), (4.01, 50)])
    odd = [LineString(), None, LineString([(4, 50), (4, 50)]), Point(4, 50), LineString([(4, 50), (NAN, 50)])]
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=[good, *odd], crs="EPSG:4326").to_file(path)
    segments = read_streets(path)
    assert len(segments.table) == 1
    (note,) = segments.notes
    assert note == "streets: 5 of 6 features have no usable line and are left out, first number 2"


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
@pytest.mark.parametrize(
    ("features", "crs", "words", "error"),
    [
        ([LINE], None, {}, "a.shp does not say its CRS; write it into the file, as ogr2ogr"),
        ([Point(4, 50)], "EPSG:4326", {}, "a.shp has no lines with coordinates (1 features)"),
        ([LINE], "EPSG:4326", {"street_name": "nmae"}, "no attribute 'nmae'; did you mean 'name'? (there are: name)"),
        ([LINE], "EPSG:4326", {"strata": "use"}, "strata: no attribute 'use' (there are: name)"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(features, crs, words, error, tmp_path):
    path = write_features(tmp_path / "a.shp", features, {"name": ["x"]}, crs)
    if crs is None:
        path.with_suffix(".prj").unlink(missing_ok=True)
    with pytest.raises(UserError) as refused:
        read_streets(path, **words)
    assert error in str(refused.value)
    assert "\n" not in str(refused.value)


def test_metres_that_pass_for_degrees_and_a_text_are_refused(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": '
        '{"type": "LineString", "coordinates": [[121000, 487000], [121100, 487000]]}}]}'
    )
    with pytest.raises(
        UserError, match=r"coordinates from 121000, 487000 to 121100, 487000 are no degrees; the file say"
    ):
        read_streets(path)
    path.write_text("text")
    with pytest.raises(UserError, match=r"^streets: .*a\.geojson cannot be read \("):
        read_streets(path)


def test_districts_hold_the_middles_of_segments_and_photos_without_one(tmp_path):
    square = Polygon([(4, 50), (5, 50), (5, 51), (4, 51)])
    crossed = Polygon([(5, 50), (6, 51), (6, 50), (5, 51)])
    path = write_features(tmp_path / "areas.gpkg", [square, crossed], {"name": ["West", "East"]}, "EPSG:3857")
    districts = read_districts(path)
    assert districts.notes == ["districts: 1 of 2 polygons cross themselves and are repaired"]
    lines = [
        LineString([(4.9, 50.5), (5.5, 50.5)]),
        LineString([(4.5, 50.5), (5.4, 50.5)]),
        LineString([(8, 50), (9, 50)]),
    ]
    table = gpd.GeoDataFrame(
        {"segment": ["a", "b", "c"], "name": "", "length_m": 1.0, "district": "", "stratum": ""},
        geometry=lines,
        crs=4326,
    )
    segments = Segments(table, "streets", True)
    where = photos((4.95, 50.5), (4.1, 50.1), (30, 30), (NAN, NAN)).assign(segment=["a", "", "", ""])
    placed = add_districts(where, segments, districts.table)
    assert list(segments.table["district"]) == ["East", "West", ""]
    assert list(placed["district"]) == ["East", "West", "", ""]
    with pytest.raises(UserError, match=r"district_name: no attribute 'nam'; did you mean 'name'"):
        read_districts(path, "nam")

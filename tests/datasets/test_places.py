"""The place of a photo as its EXIF has it, against exiftool; what is no place is refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.placed_photos import NOTHING, read_by_exiftool, write_photo

from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.places import Place, read_place, time_text

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "HEIF": "heic"}
HERE: dict[str, Any] = {
    "GPSLatitudeRef": "S",
    "GPSLatitude": (33.0, 51.0, 24.8412),
    "GPSLongitudeRef": "W",
    "GPSLongitude": (70.0, 38.5, 0.0),
}


def photo(folder: Path, form: str = "JPEG", camera: dict[str, Any] | None = None, **gps: Any) -> Path:
    return write_photo(folder / f"photo.{FORMATS[form]}", form, camera, **gps)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_place_that_exiftool_reads(form, tmp_path):
    camera = {"DateTimeOriginal": "2025:03:14 08:01:02", "OffsetTimeOriginal": "-03:30", "SubsecTimeOriginal": "25"}
    below = {"GPSAltitudeRef": b"\1", "GPSAltitude": 3.5, "GPSImgDirectionRef": "T", "GPSImgDirection": 271.25}
    path = photo(tmp_path, form, camera, **HERE | below)
    place, oracle = read_place(path), read_by_exiftool(path)
    assert (place.lat, place.lon) == pytest.approx((oracle["GPSLatitude"], oracle["GPSLongitude"]), abs=1e-7)
    assert (place.lat, place.lon) == pytest.approx((-33.8569003, -70.6416667), abs=1e-7)
    assert place.altitude == oracle["GPSAltitude"] == -3.5
    assert place.heading == oracle["GPSImgDirection"] == 271.25
    assert oracle["SubSecDateTimeOriginal"] == "2025:03:14 08:01:02.25-03:30"
    assert time_text(place.time) == "2025-03-14T11:31:02.250Z"
    assert place.entry() == {
        "lat": -33.8569003, "lon": -70.6416667, "time": "2025-03-14T11:31:02.250Z", "heading": 271.25
    }  # fmt: skip


@pytest.mark.parametrize(
    ("latitude", "longitude"), [("N", "E"), ("N", "W"), ("S", "E"), ("S", "W"), ("n\0", "e "), ("South", "West")]
)
def test_each_hemisphere_has_its_sign(latitude, longitude, tmp_path):
    path = photo(tmp_path, **HERE | {"GPSLatitudeRef": latitude, "GPSLongitudeRef": longitude})
    place, oracle = read_place(path), read_by_exiftool(path)
    expected = (oracle["GPSLatitude"], oracle["GPSLongitude"])
    if len(latitude) == 1:
        assert (place.lat, place.lon) == pytest.approx(expected, abs=1e-7)
    assert (place.lat > 0, place.lon > 0) == (latitude[0] in "Nn", longitude[0] in "Ee")


@pytest.mark.slow
def test_the_real_photos_lie_within_a_metre_of_where_exiftool_puts_them(shared_data):
    geod = pytest.importorskip("pyproj").Geod(ellps="WGS84")
    for path in sorted((shared_data("geo") / "photos").iterdir()):
        place, oracle = read_place(path), read_by_exiftool(path)
        _, _, metres = geod.inv(place.lon, place.lat, oracle["GPSLongitude"], oracle["GPSLatitude"])
        assert metres < 1
        assert place.time.tzinfo is UTC


@pytest.mark.parametrize(
    ("wrong", "note"),
    [
        ({"GPSLatitude": (NOTHING, NOTHING, NOTHING)}, "its GPS position nan, -70.6417: not finite"),
        ({"GPSLongitude": (70.0, 38.5, NOTHING)}, "its GPS position -33.8569, nan: not finite"),
        ({"GPSLatitude": (91.0, 0.0, 0.0)}, "its GPS position -91, -70.6417: out of range (latitude -90 to 90, longi"),
        ({"GPSLongitude": (180.0, 0.5, 0.0)}, "its GPS position -33.8569, -180.008: out of range (latitude -90"),
        ({"GPSLatitude": (0.0, 0.0, 0.0), "GPSLongitude": (0.0, 0.0, 0.0)}, "its GPS position 0, 0: what receivers"),
        ({"GPSLatitudeRef": ""}, "its GPS LatitudeRef is '', not N or S"),
        ({"GPSLongitudeRef": "X"}, "its GPS LongitudeRef is 'X', not E or W"),
        ({"GPSStatus": "V"}, "its GPS status is V, void: the receiver had no fix"),
    ],
)
def test_what_is_no_position_is_left_out_with_the_reason(wrong, note, tmp_path):
    place = read_place(photo(tmp_path, **HERE | wrong))
    assert (place.lat, place.lon) == (None, None)
    assert place.note.startswith(note)
    assert place.entry() == {"place_note": place.note}


def test_without_gps_there_is_no_place_and_no_entry(tmp_path):
    assert read_place(photo(tmp_path)) == Place(note="no GPS position in its EXIF")
    assert read_place(photo(tmp_path)).entry() == {}


@pytest.mark.parametrize(
    ("camera", "satellites", "expected"),
    [
        (
            {"DateTimeOriginal": "2024:02:29 23:59:59", "SubsecTimeOriginal": "5"}, {},
            datetime(2024, 2, 29, 23, 59, 59, 500000),
        ),
        (
            {}, {"GPSDateStamp": "2024:02:29", "GPSTimeStamp": (23.0, 59.0, 59.25)},
            datetime(2024, 2, 29, 23, 59, 59, 250000, UTC),
        ),
        ({}, {"GPSDateStamp": "2024:02:29", "GPSTimeStamp": (NOTHING, 59.0, 59.0)}, None),
        ({}, {"GPSTimeStamp": (1.0, 2.0, 3.0)}, None),
        ({"DateTimeOriginal": "0000:00:00 00:00:00"}, {}, None),
        ({"DateTimeOriginal": "2024:06:01 10:00:00", "OffsetTimeOriginal": "+99:00"}, {}, datetime(2024, 6, 1, 10)),
        (
            {"DateTimeOriginal": "2024:06:01 10:00:00"},
            {"GPSDateStamp": "2024:06:01", "GPSTimeStamp": (8.0, 0.0, 1.0)},
            datetime(2024, 6, 1, 8, 0, 1, tzinfo=UTC),
        ),
    ],
)  # fmt: skip
def test_the_time_has_a_zone_where_the_file_gives_one(camera, satellites, expected, tmp_path):
    time = read_place(photo(tmp_path, camera=camera, **satellites)).time
    assert (time, time and time.tzinfo) == (expected, expected and expected.tzinfo)


@pytest.mark.parametrize(
    ("reference", "direction", "expected"),
    [("T", 360.0, 0.0), ("M", 20.0, None), ("T", NOTHING, None), ("T", 400.0, None)],
)
def test_a_heading_is_from_true_north_or_not_there(reference, direction, expected, tmp_path):
    place = read_place(photo(tmp_path, GPSImgDirectionRef=reference, GPSImgDirection=direction))
    assert place.heading == expected


def test_what_is_no_photo_is_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("text")
    with pytest.raises(UnreadablePhoto, match="not an image"):
        read_place(path)


def test_broken_exif_is_no_place(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\0\0GARBAGE_GARBAGE")
    assert read_place(path).note == "no GPS position in its EXIF"

"""Read where and when a photo was taken from its EXIF: position, time and direction of view."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from PIL import ExifTags

from streetlab.datasets.decode import opened_photo
from streetlab.io.archive import File

COLUMNS = ("lat", "lon", "time", "heading")
"""Of a table of photos: degrees, ISO 8601, degrees clockwise from true north."""
DIGITS = 7
"""Decimals of degrees: about a centimetre."""
NO_GPS = "no GPS position in its EXIF"
_GPS, _BASE = ExifTags.GPS, ExifTags.Base
_LARGEST_OFFSET = timedelta(hours=14)
"""The largest offset from UTC in use."""


@dataclass(frozen=True)
class Place:
    """Position, time and direction of a photo.

    Attributes:
        lat: degrees north, WGS 84; None without a position.
        lon: degrees east.
        time: with its zone (UTC) where that is known, else in the camera's own local time.
        heading: the direction of view in degrees clockwise from true north, 0 to below 360.
        altitude: metres above sea level; negative below it.
        note: the reason why there is no position; empty where there is one.
    """

    lat: float | None = None
    lon: float | None = None
    time: datetime | None = None
    heading: float | None = None
    altitude: float | None = None
    note: str = ""

    @property
    def has_position(self) -> bool:
        """True if the photo has a position."""
        return self.lat is not None

    def entry(self) -> dict[str, Any]:
        """What is known under the keys of `COLUMNS`, and `place_note` where EXIF holds a position that is none."""
        values = {
            "lat": None if self.lat is None else round(self.lat, DIGITS),
            "lon": None if self.lon is None else round(self.lon, DIGITS),
            "time": None if self.time is None else time_text(self.time),
            "heading": None if self.heading is None else round(self.heading, 2),
            "place_note": None if self.note in ("", NO_GPS) else self.note,
        }
        return {key: value for key, value in values.items() if value is not None}


def read_place(path: File) -> Place:
    """Read the place of a photo from its EXIF, without decoding its pixels (of a PNG, EXIF may stand behind them).

    A position that is no position (0/0, NaN, out of range, without hemisphere, the 0, 0 or the status "void" of a
    receiver without a fix) is left out, with the reason as the note. The time is DateTimeOriginal where it has an
    offset from UTC, else that of the satellites, else DateTimeOriginal as a local time. Directions from magnetic north
    are left out: the declination is not in the file.

    Raises:
        UnreadablePhoto: the file is no photo.
    """
    with opened_photo(path) as opened:
        exif = opened.getexif()
        gps, camera = _table(exif, ExifTags.IFD.GPSInfo), _table(exif, ExifTags.IFD.Exif)
    lat, lon, note = _position(gps)
    return Place(lat, lon, _time(gps, camera), _heading(gps), _altitude(gps), note)


def position_fault(lat: float, lon: float) -> str:
    """The reason why two numbers are no position in degrees; empty where they are one."""
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return f"position {lat:g}, {lon:g}: not finite"
    if abs(lat) > 90 or abs(lon) > 180:
        return f"position {lat:g}, {lon:g}: out of range (latitude -90 to 90, longitude -180 to 180)"
    if lat == lon == 0:
        return "position 0, 0: what receivers write without a fix"
    return ""


def time_text(moment: datetime) -> str:
    """A time in ISO 8601, milliseconds only where there are some: with Z in UTC, a local one without a zone."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds")
    return text.replace("+00:00", "Z")


def _table(exif: Any, kind: ExifTags.IFD) -> Mapping[int, Any]:
    """One of the tables of the EXIF; an empty one where it is not there or damaged."""
    try:
        return dict(exif.get_ifd(kind))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError):
        return {}


def _position(gps: Mapping[int, Any]) -> tuple[float | None, float | None, str]:
    if _GPS.GPSLatitude not in gps or _GPS.GPSLongitude not in gps:
        return None, None, NO_GPS
    if _text(gps.get(_GPS.GPSStatus)) == "V":
        return None, None, "its GPS status is V, void: the receiver had no fix"
    signs = []
    for tag, positive, negative in ((_GPS.GPSLatitudeRef, "N", "S"), (_GPS.GPSLongitudeRef, "E", "W")):
        hemisphere = _text(gps.get(tag)).upper()[:1]
        if not hemisphere or hemisphere not in positive + negative:
            return None, None, f"its GPS {tag.name[3:]} is '{hemisphere}', not {positive} or {negative}"
        signs.append(1 if hemisphere == positive else -1)
    lat = signs[0] * _degrees(gps[_GPS.GPSLatitude])
    lon = signs[1] * _degrees(gps[_GPS.GPSLongitude])
    if fault := position_fault(lat, lon):
        return None, None, f"its GPS {fault}"
    return lat, lon, ""


def _degrees(value: Any) -> float:
    """Degrees from up to three rationals: degrees, minutes, seconds; NaN where one is 0/0 or not there."""
    parts = [_number(part) for part in value] if isinstance(value, tuple | list) else [_number(value)]
    if not 1 <= len(parts) <= 3 or any(part < 0 for part in parts):
        return math.nan
    return sum(part / 60**power for power, part in enumerate(parts))


def _heading(gps: Mapping[int, Any]) -> float | None:
    heading = _number(gps.get(_GPS.GPSImgDirection))
    if _text(gps.get(_GPS.GPSImgDirectionRef)).upper() != "T" or not 0 <= heading <= 360:
        return None
    return heading % 360


def _altitude(gps: Mapping[int, Any]) -> float | None:
    altitude = _number(gps.get(_GPS.GPSAltitude))
    reference = gps.get(_GPS.GPSAltitudeRef)
    code = reference[0] if isinstance(reference, bytes) and reference else reference
    # 1: below sea level; 3: below the ellipsoid, since EXIF 3.0
    return None if not math.isfinite(altitude) else -altitude if code in (1, 3) else altitude


def _time(gps: Mapping[int, Any], camera: Mapping[int, Any]) -> datetime | None:
    local = _or_none(lambda: datetime.strptime(_text(camera.get(_BASE.DateTimeOriginal)), "%Y:%m:%d %H:%M:%S"))
    if local is not None:
        digits = _text(camera.get(_BASE.SubsecTimeOriginal))
        if digits.isdecimal():
            local += timedelta(seconds=float(f"0.{digits}"))
        offset = _or_none(lambda: _offset(_text(camera.get(_BASE.OffsetTimeOriginal))))
        if offset is not None:
            return local.replace(tzinfo=timezone(offset)).astimezone(UTC)
    return _or_none(lambda: _satellite_time(gps)) or local


def _satellite_time(gps: Mapping[int, Any]) -> datetime:
    year, month, day = map(int, _text(gps[_GPS.GPSDateStamp]).replace("-", ":").split(":"))
    hours, minutes, seconds = map(_number, gps[_GPS.GPSTimeStamp])
    since_midnight = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta(0) <= since_midnight <= timedelta(days=1):
        raise ValueError
    return datetime.combine(date(year, month, day), time(), UTC) + since_midnight


def _offset(text: str) -> timedelta:
    """`+02:00` or `Z` as a difference to UTC."""
    if text.upper() == "Z":
        return timedelta(0)
    sign, (hours, minutes) = {"+": 1, "-": -1}[text[:1]], map(int, text[1:].split(":"))
    offset = sign * timedelta(hours=hours, minutes=minutes)
    if abs(offset) > _LARGEST_OFFSET or minutes > 59:
        raise ValueError
    return offset


def _or_none(read: Callable[[], Any]) -> Any:
    """Call `read`; None where the tags do not hold what they promise."""
    try:
        return read()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None


def _number(value: Any) -> float:
    """A rational as a number; NaN for 0/0, for what is not there and for any other type."""
    try:
        return float(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        return math.nan


def _text(value: Any) -> str:
    """A tag's text without the zero bytes and spaces that some cameras end it with."""
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return value.strip("\0 ") if isinstance(value, str) else ""

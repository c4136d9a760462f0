"""Photos whose EXIF says where and when they were taken."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from streetlab.synthetic import draw_scene

NOTHING = Ellipsis
"""Stands for what a rational of a broken file holds: 0/0."""


def _rational(value: Any) -> Any:
    if value is NOTHING:
        return TiffImagePlugin.IFDRational(0, 0)
    return tuple(map(_rational, value)) if isinstance(value, tuple) else value


def write_photo(
    path: Path, form: str = "JPEG", camera: dict[str, Any] | None = None, seed: int | None = None, **gps: Any
) -> Path:
    """Write a photo whose EXIF holds these tags.

    Args:
        camera: tags of the camera, by name.
        seed: of a drawn street; None: one colour.
        gps: tags of GPS, by name.
    """
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {getattr(ExifTags.GPS, name): _rational(value) for name, value in gps.items()}
    )
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {getattr(ExifTags.Base, name): value for name, value in (camera or {}).items()}
    )
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image = (
        Image.new("RGB", (16, 12), (90, 120, 40)) if seed is None else Image.fromarray(draw_scene(seed, 33, 46).image)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, form, exif=exif.tobytes())
    return path


def photo_at(
    path: Path, lat: float | None, lon: float | None, time: str = "", heading: float | None = None, seed: int = 0
) -> Path:
    """Write a drawn street with a position in degrees, a time `2025:03:14 08:01:02+00:00` and a true heading."""
    gps: dict[str, Any] = {}
    if lat is not None and lon is not None:
        gps |= {"GPSLatitudeRef": "S" if lat < 0 else "N", "GPSLatitude": (abs(lat), 0.0, 0.0)}
        gps |= {"GPSLongitudeRef": "W" if lon < 0 else "E", "GPSLongitude": (abs(lon), 0.0, 0.0)}
    if heading is not None:
        gps |= {"GPSImgDirectionRef": "T", "GPSImgDirection": heading}
    camera = {"DateTimeOriginal": time[:19], "OffsetTimeOriginal": time[19:]} if time else {}
    return write_photo(path, "JPEG", {key: value for key, value in camera.items() if value}, seed, **gps)


def read_by_exiftool(path: Path) -> dict[str, Any]:
    """What exiftool reads: numbers, positions with their signs; a skip with the reason where it is not installed."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("no exiftool here (apt-get install libimage-exiftool-perl)")
    tags = ["-Composite:GPSLatitude", "-Composite:GPSLongitude", "-Composite:GPSAltitude"]
    tags += ["-Composite:GPSDateTime", "-Composite:SubSecDateTimeOriginal", "-EXIF:GPSImgDirection"]
    done = subprocess.run([program, "-n", "-j", *tags, path], capture_output=True, check=True)
    (values,) = json.loads(done.stdout)
    return dict(values)

"""Generated input for what reads files and words of people or other programs: an answer, or an error that names it.

A few examples of each reader run always; ten thousand of each are slow.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from streetlab.config.quoting import quote, quote_paths, unquote
from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo
from streetlab.datasets.labels import CAMVID, CITYSCAPES, CLEANLINESS
from streetlab.datasets.mapping import mask_table
from streetlab.datasets.places import read_place
from streetlab.datasets.splits import read_split
from streetlab.inference.model_metadata import KEY, ModelMetadata
from streetlab.records.overview import overview
from streetlab.records.record import RunRecord
from streetlab.survey.photos import photos_of_table
from streetlab.survey.streets import read_streets
from streetlab.survey.tracks import read_track
from tests.support.generated import each, refused

Check = Callable[[Any, Path], None]
"""Reads one generated value; the folder is empty at first and shared by all values."""

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@dataclass(frozen=True)
class Reader:
    """One kind of input."""

    inputs: st.SearchStrategy[Any]
    check: Check


# words of the command line


def _words(text: str, _: Path) -> None:
    # a path's text is what the command gets, whatever Hydra's grammar thinks of it
    if refused(lambda: quote_paths([f"source={text}"]), "source"):
        return
    (override,) = OverridesParser.create().parse_overrides(quote_paths([f"source={quote(text)}"]))
    assert OmegaConf.create({"source": override.value()}).source == text
    assert unquote(quote(text)) == text


PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text != "???")
"""`???` is OmegaConf's word for a value that is missing."""


def _split_file(content: bytes, folder: Path) -> None:
    path = folder / "split.json"
    path.write_bytes(content)
    refused(lambda: read_split(path), "split.json")


def _mutated(value: Any, data: bytes) -> bytes:
    """JSON of a value, with some bytes replaced where `data` says so."""
    text = bytearray(json.dumps(value).encode())
    for place, new in zip(data[::2], data[1::2], strict=False):
        text[place % len(text)] = new
    return bytes(text[: len(text) - (data[0] % len(text) if data and data[0] < 64 else 0)])


SPLIT = {
    "format": "streetlab split 1", "seed": 0, "folds": 2,
    "photos": {"a" * 64: {"split": "train", "group": "g", "fold": 1, "label": "clean"}, "b" * 64: {"split": None}},
}  # fmt: skip
ENTRY = st.fixed_dictionaries({}, optional=dict.fromkeys(("split", "group", "fold", "label", "other"), SCALARS))
SPLITS = st.builds(
    lambda photos, more: json.dumps(SPLIT | {"photos": photos} | more).encode(),
    st.dictionaries(st.text("0123456789abcdef", min_size=62, max_size=66), ENTRY | JSON, max_size=3) | JSON,
    st.fixed_dictionaries({}, optional=dict.fromkeys(("format", "seed", "folds"), JSON)),
)


# what an exported model says of itself, and the map of a mask folder


def _model(change: tuple[list[str], Any], _: Path) -> None:
    """Read metadata of which one value, however deep, is replaced."""
    keys, value = change
    plain = json.loads(MODEL.to_metadata()[KEY])
    inner = plain
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    refused(lambda: ModelMetadata.from_metadata({KEY: json.dumps(plain)}, "model.onnx"), "model.onnx")


def _mask_map(value: Any, _: Path) -> None:
    refused(lambda: mask_table(CAMVID, CITYSCAPES, value), "dataset.map")


MODEL = ModelMetadata("run", CLEANLINESS, (128, 128), "ab", 3, "fp32", 1.5, {"torch": "2"})
MODEL_KEYS = [[key] for key in ("name", "image_size", "epoch", "temperature", "made_with", "domain", "format")]
MODELS = st.tuples(
    st.sampled_from([*MODEL_KEYS, *(["label_space", key] for key in CLEANLINESS.to_dict())]),
    JSON | st.just(float("inf")) | st.lists(SCALARS, min_size=2, max_size=3),
)
MAPS = st.dictionaries(st.sampled_from(CAMVID.names) | SCALARS, st.sampled_from(CITYSCAPES.names) | SCALARS)


# image files


def _pictures() -> list[bytes]:
    pixels = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825).update({1: "N", 2: (43.0, 28.0, 2.8), 3: "E", 4: (11.0, 53.0, 6.4), 29: "2008:10:23"})
    files = []
    for kind, more in (
        ("PNG", {}),
        ("JPEG", {"exif": exif}),
        ("WEBP", {"exif": exif}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **more)
        files.append(file.getvalue())
    return files


PICTURES = _pictures()


def _damaged(picture: bytes, changes: list[tuple[int, int]], end: float) -> bytes:
    content = bytearray(picture)
    for place, value in changes:
        content[place % len(content)] = value
    return bytes(content[: max(1, math.ceil(end * len(content)))])


IMAGES = st.builds(
    _damaged,
    st.sampled_from(PICTURES),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5, 0.1]),
)


def _photo(content: bytes, folder: Path) -> None:
    path = folder / "photo.img"
    path.write_bytes(content)
    if not refused(lambda: read_photo(path), errors=(UnreadablePhoto,)):
        assert read_photo(path).mode == "RGB"
    refused(lambda: read_mask(path), errors=(UnreadablePhoto,))
    if not refused(lambda: read_place(path), errors=(UnreadablePhoto,)):
        place = read_place(path)
        assert place.lat is None or (-90 <= place.lat <= 90 and -180 <= place.lon <= 180)


# records


def _record(change: tuple[str, float, Any], folder: Path) -> None:
    """Read a record one of whose files is cut off, or has one value replaced."""
    name, end, value = change
    files = {
        "config.yaml": yaml.safe_dump({"study": "s", "seed": 0, "task": {"objective": {"metric": "macro_f1"}}}),
        "overrides.yaml": yaml.safe_dump(["seed=0"]),
        "status.json": json.dumps({"state": "completed", "started": "2026-01-01T00:00:00+00:00", "minutes": 3.5}),
        "metrics.json": json.dumps(
            {"task": "classification", "objective": {"metric": "macro_f1", "mode": "max"}, "best_epoch": 3,
             "eval_split": "test", "test": {"macro_f1": 0.7, "accuracy": 0.8, "n": 10}}
        ),
        "metrics.csv": "epoch,val/macro_f1\n0,0.5\n1,0.7\n",
    }  # fmt: skip
    for file, text in files.items():
        (folder / file).write_text(text)
    if end < 1:
        text = files[name]
        (folder / name).write_text(text[: int(end * len(text))])
    elif name.endswith(".json"):
        content = json.loads(files[name])
        content[sorted(content)[len(str(value)) % len(content)]] = value
        (folder / name).write_text(json.dumps(content))
    record = RunRecord(folder)
    if not refused(lambda: overview(record), folder.name):
        assert overview(record).state


RECORDS = st.tuples(
    st.sampled_from(["config.yaml", "overrides.yaml", "status.json", "metrics.json", "metrics.csv"]),
    st.floats(0, 1) | st.just(1.0),
    JSON,
)

# files with places

CELLS = st.sampled_from(
    ["", "nan", "-inf", "1e999", "-91", "52.1", "4,3", "4.35", "2025-03-14T08:00:00Z", "2025-03-14 08:00", "99:99"]
) | st.text(max_size=6)
NAMES = ["time", "lat", "lon", "file", "prediction", "confidence", "p_Clean", "heading", "unlike_training", "more"]


def _table(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


TABLES = st.builds(_table, st.permutations(NAMES) | st.just(NAMES), st.lists(st.lists(CELLS, max_size=11), max_size=5))
POINTS = st.tuples(CELLS, CELLS, CELLS)


def _gpx(points: list[tuple[str, str, str]]) -> str:
    lines = [
        f"<trkpt lat={quoteattr(lat)} lon={quoteattr(lon)}><time>{escape(time)}</time></trkpt>"
        for lat, lon, time in points
    ]
    return f'<gpx version="1.1"><trk><trkseg>{"".join(lines)}</trkseg></trk></gpx>'


NUMBERS = st.none() | st.floats() | st.floats(-180, 180) | st.integers(-90, 90) | st.text(max_size=3)
COORDINATES = st.recursive(st.lists(NUMBERS, max_size=3), lambda inner: st.lists(inner, max_size=4), max_leaves=6)
GEOMETRIES = st.none() | st.builds(
    lambda kind, coordinates: {"type": kind, "coordinates": coordinates},
    st.sampled_from(["Point", "LineString", "MultiLineString", "Polygon", "GeometryCollection", "Circle"]),
    COORDINATES,
)
TIMES = st.fixed_dictionaries(
    {}, optional={"time": CELLS | SCALARS, "coordTimes": st.lists(CELLS, max_size=4), "name": JSON}
)
FEATURES = (
    st.builds(lambda g, p: {"type": "Feature", "geometry": g, "properties": p}, GEOMETRIES, st.none() | TIMES) | JSON
)
COLLECTIONS = st.builds(
    lambda features: json.dumps({"type": "FeatureCollection", "features": features}), st.lists(FEATURES, max_size=4)
) | st.builds(json.dumps, JSON)


def _survey_reader(key: str, name: str, read: Callable[[Path], object]) -> Check:
    def check(text: str, folder: Path) -> None:
        path = folder / name
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        refused(lambda: read(path), key, name)

    return check


def _track(path: Path) -> object:
    return read_track(path, UTC, 15.0)


READERS = {
    "GPX tracks": Reader(st.builds(_gpx, st.lists(POINTS, max_size=4)), _survey_reader("track", "drive.gpx", _track)),
    "CSV tracks": Reader(TABLES, _survey_reader("track", "drive.csv", _track)),
    "GeoJSON tracks": Reader(COLLECTIONS, _survey_reader("track", "drive.geojson", _track)),
    "GeoJSON streets": Reader(COLLECTIONS, _survey_reader("streets", "city.geojson", read_streets)),
    "predictions": Reader(TABLES, _survey_reader("source", "predictions.csv", photos_of_table)),
    "words": Reader(PRINTABLE, _words),
    "split files": Reader(SPLITS | st.builds(_mutated, st.just(SPLIT), st.binary(min_size=2, max_size=8)), _split_file),
    "exported models": Reader(MODELS, _model),
    "maps of masks": Reader(MAPS, _mask_map),
    "images": Reader(IMAGES, _photo),
    "records": Reader(RECORDS, _record),
}


@pytest.mark.parametrize("count", [50, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("name", READERS)
def test_generated_input_is_read_or_refused(name: str, count: int, tmp_path: Path) -> None:
    reader = READERS[name]
    each(reader.inputs, lambda value: reader.check(value, tmp_path), count)

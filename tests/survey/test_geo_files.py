"""GDAL and QGIS read what a survey writes: the same numbers, valid geometry, the right CRS, the same bytes again."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

pytest.importorskip("geopandas", reason="surveys need streetlab[survey]")
import itertools

import geopandas
import pyogrio
from tests.support.survey_tables import tables

from streetlab.errors import UserError
from streetlab.survey.geo_files import write
from streetlab.survey.styles import COLORS, STEPS, qgis_styles

LAYERS = ("photos", "segments", "districts", "sample")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    made = tables(trend=True)
    write(folder, made.photos, made.segments, made.districts, made.segments.iloc[:2], styles=True)
    return folder


def table_of(layer: str) -> pd.DataFrame:
    made = tables(trend=True)
    return {"photos": made.photos, "segments": made.segments, "districts": made.districts,
            "sample": made.segments.iloc[:2]}[layer]  # fmt: skip


def values(column: pd.Series) -> list[object]:
    """The column's values, None where one is missing."""
    return [None if pd.isna(value) else value for value in column]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["gpkg", "geojson"])
def test_gdal_reads_the_same_numbers_valid_geometry_and_the_right_crs(written, layer, kind):
    path = written / ("survey.gpkg" if kind == "gpkg" else f"{layer}.geojson")
    read = geopandas.read_file(path, layer=layer)
    table = table_of(layer)
    assert read.crs.to_epsg() == 4326
    assert len(read) == len(table)
    for name in table.columns.drop("geometry", errors="ignore"):
        if table[name].dtype.kind in "fi":
            assert read[name].astype(float).tolist() == pytest.approx(table[name].tolist(), abs=0, nan_ok=True), name
        elif name != "time" or kind == "gpkg":  # GDAL makes dates of GeoJSON's texts
            assert values(read[name]) == values(table[name]), name
    placed = read[read.geometry.notna()]
    assert placed.geometry.is_valid.all()
    if layer == "photos":
        assert placed.geometry.x.tolist() == table["lon"].dropna().tolist()
        assert placed.geometry.y.tolist() == table["lat"].dropna().tolist()
    else:  # RFC 7946 turns the rings of areas
        assert read.geometry.normalize().geom_equals_exact(table.geometry.normalize(), 1e-7).all()


def test_photos_without_a_place_are_in_the_layer(written):
    read = geopandas.read_file(written / "survey.gpkg", layer="photos").set_index("file")
    assert read.geometry["lost.jpg"] is None
    assert read["severity"]["lost.jpg"] == 5.0


def test_geojson_is_rfc_7946(written):
    text = (written / "photos.geojson").read_text(encoding="utf-8")
    document = json.loads(text)
    assert "crs" not in document, "RFC 7946 knows WGS 84 alone"
    assert document["features"][0]["geometry"] == {"type": "Point", "coordinates": [4.3601234, 52.0101234]}
    ring = json.loads((written / "districts.geojson").read_text())["features"][0]["geometry"]["coordinates"][0]
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))
    assert area > 0, "outer rings run counterclockwise"


def test_written_again_every_file_has_the_same_bytes(written, tmp_path):
    made = tables(trend=True)
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    files = write(tmp_path, made.photos, made.segments, made.districts, made.segments.iloc[:2], styles=True)
    assert sorted(path.name for path in files) == sorted(path.name for path in written.iterdir())
    for path in files:
        assert path.read_bytes() == (written / path.name).read_bytes(), path.name
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == before


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="no ogrinfo here")
def test_another_gdal_reads_the_package(written):
    listed = subprocess.run(
        ["ogrinfo", "-ro", "-al", "-so", written / "survey.gpkg"], capture_output=True, text=True, check=True
    )
    assert "Warning" not in listed.stderr, listed.stderr
    assert [f"Layer name: {layer}" in listed.stdout for layer in LAYERS] == [True] * len(LAYERS)
    assert listed.stdout.count('ID["EPSG",4326]') == len(LAYERS)
    assert "Geometry: Line String" in listed.stdout


def test_qgis_finds_the_styles_of_the_page(written):
    with sqlite3.connect(written / "survey.gpkg") as database:
        rows = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault"))
    assert set(rows) == {"photos", "segments", "districts"}
    assert rows["segments"] == (written / "segments.qml").read_text()
    renderer = ElementTree.fromstring(rows["segments"]).find("renderer-v2")
    assert renderer is not None
    assert renderer.get("attr") == "severity"
    edges = [(float(element.get("lower", "")), float(element.get("upper", ""))) for element in renderer.iter("range")]
    assert edges == list(itertools.pairwise(STEPS))
    paints = [element.get("value", "") for element in renderer.iter("Option") if element.get("name") == "line_color"]
    assert ["#{:02x}{:02x}{:02x}".format(*map(int, paint.split(",")[:3])) for paint in paints] == list(COLORS)
    assert "SimpleFill" in qgis_styles(areas=True)["segments"]


def test_without_styles_districts_or_a_sample_there_is_no_trace_of_them(tmp_path):
    made = tables()
    write(tmp_path, made.photos, made.segments, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos.geojson", "segments.geojson", "survey.gpkg"]
    assert [name for name, _ in pyogrio.list_layers(tmp_path / "survey.gpkg")] == ["photos", "segments"]


def test_no_photo_with_a_place_is_no_fault(tmp_path):
    made = tables()
    lost = made.photos.assign(lat=float("nan"), lon=float("nan"))
    write(tmp_path, lost, made.segments, None)
    assert geopandas.read_file(tmp_path / "survey.gpkg", layer="photos").geometry.isna().all()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    made = tables()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"survey\.gpkg: .*move it"):
        write(tmp_path / "file", made.photos, made.segments, None)

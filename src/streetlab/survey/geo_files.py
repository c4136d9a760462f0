"""The survey's tables as GeoPackage and GeoJSON, for QGIS and other programs."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.io.files import write_bytes, write_text
from streetlab.survey.styles import qgis_styles

if TYPE_CHECKING:
    import geopandas
    import pandas

GEOPACKAGE = "survey.gpkg"
_NO_DATE = "2000-01-01T00:00:00Z"
_DATE_OPTION = "OGR_CURRENT_DATE"
_DECIMALS = 7
"""Decimals of a degree: 1 cm, and what photos.csv has."""
_STYLES_TABLE = """CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT,
styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)"""


def write(
    output: Path,
    photos: pandas.DataFrame,
    segments: geopandas.GeoDataFrame,
    districts: geopandas.GeoDataFrame | None,
    sample: geopandas.GeoDataFrame | None = None,
    styles: bool = False,
    made: str = _NO_DATE,
) -> list[Path]:
    """Write survey.gpkg with a layer for each table, and each layer as GeoJSON (RFC 7946); atomic, byte for byte.

    The columns are those of the tables. Photos without a place are there, without a geometry.

    Args:
        output: the survey's folder.
        photos: `lat` and `lon` in WGS 84 degrees, NaN without a place, and any other columns.
        segments: lines or areas in EPSG:4326.
        districts, sample: further layers in EPSG:4326, left out where there is none.
        styles: add QGIS styles to the GeoPackage, and .qml files beside the GeoJSON.
        made: the date that the GeoPackage gives as its last change (ISO 8601).

    Returns:
        The files, in the order in which they were written.

    Raises:
        UserError: a file cannot be written.
    """
    layers = {"photos": _points(photos), "segments": segments, "districts": districts, "sample": sample}
    tables = {name: _plain(table) for name, table in layers.items() if table is not None and len(table)}
    areas = bool(segments.geom_type.isin(["Polygon", "MultiPolygon"]).any())
    qml = {name: text for name, text in qgis_styles(areas).items() if styles and name in tables}
    kinds = {"photos": {"geometry_type": "Point"}}  # which no row shows where all photos are without a place
    written = []
    with tempfile.TemporaryDirectory() as folder, _dated(made):
        package = Path(folder) / GEOPACKAGE
        for name, table in tables.items():
            table.to_file(package, layer=name, driver="GPKG", engine="pyogrio", VERSION="1.3", **kinds.get(name, {}))
        if qml:
            _add_styles(package, qml, made)
        written.append(write_bytes(output / GEOPACKAGE, package.read_bytes()))
        for name, table in tables.items():
            text = Path(folder) / f"{name}.geojson"
            options = {"RFC7946": "YES", "COORDINATE_PRECISION": str(_DECIMALS)}
            table.to_file(text, driver="GeoJSON", engine="pyogrio", **options, **kinds.get(name, {}))
            written.append(write_bytes(output / text.name, text.read_bytes()))
    written += [write_text(output / f"{name}.qml", text) for name, text in qml.items()]
    return written


def _points(photos: pandas.DataFrame) -> geopandas.GeoDataFrame:
    import geopandas

    lon, lat = (photos[axis].astype(float).round(_DECIMALS) for axis in ("lon", "lat"))
    points = geopandas.GeoSeries.from_xy(lon, lat, index=photos.index, crs="EPSG:4326")
    points[lon.isna() | lat.isna()] = None
    return geopandas.GeoDataFrame(photos, geometry=points)


def _plain(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """The table with types that GDAL knows: what is true, false or missing is boolean, other objects are text."""
    converted: dict[str, Any] = {}
    for name, column in table.drop(columns=table.geometry.name).items():
        if column.dtype != object:
            continue
        values = column[column.notna()]
        if len(values) and values.map(lambda value: isinstance(value, bool)).all():
            converted[str(name)] = column.astype("boolean")
        elif not len(values):
            converted[str(name)] = column.astype("string")
    return table.assign(**converted)


@contextlib.contextmanager
def _dated(made: str) -> Iterator[None]:
    """GDAL takes `made` for the current time, which a GeoPackage notes; two writings are then equal."""
    import pyogrio

    before = pyogrio.get_gdal_config_option(_DATE_OPTION)
    pyogrio.set_gdal_config_options({_DATE_OPTION: made})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({_DATE_OPTION: before})


def _add_styles(package: Path, qml: dict[str, str], made: str) -> None:
    """Add the table in which QGIS looks for the styles of a GeoPackage's layers."""
    with contextlib.closing(sqlite3.connect(package)) as database, database:
        database.execute(_STYLES_TABLE)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
            (made,),
        )
        database.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner, update_time)"
            " VALUES ('', '', ?, 'geom', 'severity', ?, '', 1, 'severity, as on the page', '', ?)",
            [(name, text, made) for name, text in qml.items()],
        )

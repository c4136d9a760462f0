"""Read files of lines or polygons: GeoPackage, GeoJSON, Shapefile, in any CRS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyproj.exceptions import ProjError

from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.survey.projection import WGS84

_LINES, _POLYGONS = (1, 5), (3, 6)
_TYPES = {"lines": _LINES, "polygons": _POLYGONS}
"""Shapely's numbers of simple and multiple geometries."""


@dataclass(frozen=True, eq=False)
class VectorFile:
    """The features of a file in EPSG:4326, and notes on those that were left out."""

    table: gpd.GeoDataFrame
    notes: list[str] = field(default_factory=list)


def read_vector(key: str, path: Path, kind: str) -> VectorFile:
    """Read the first layer with lines or polygons.

    Features without a usable geometry (empty, not finite, of another type, lines of no length) are left out and
    counted; broken polygons are repaired.

    Args:
        key: for messages.
        kind: "lines" or "polygons".

    Raises:
        UserError: the file cannot be read, has no CRS or one of no place on the Earth, or nothing usable in it.
    """
    layer, others = _layer(key, path, kind)
    try:
        with np.errstate(invalid="ignore"):  # coordinates that are NaN, which are left out below
            table = gpd.read_file(path, layer=layer, on_invalid="ignore")  # lines of one point: None, see `_usable`
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, RuntimeError) as error:
        raise UserError(f"{key}: {path} cannot be read ({first_line(error)})") from None
    if not isinstance(table, gpd.GeoDataFrame):
        raise UserError(f"{key}: {path} has no geometry")
    if table.crs is None:
        raise UserError(
            f"{key}: {path} does not say its CRS; write it into the file, as ogr2ogr -a_srs EPSG:28992 new.gpkg old.shp"
        )
    notes = [f"{key}: of {path.name} the layer {layer} is read; there are also {', '.join(others)}"] if others else []
    usable = _usable(table, kind)
    if not usable.any():
        raise UserError(f"{key}: {path} has no {kind} with coordinates ({len(table)} features)")
    if not usable.all():
        first = int(np.flatnonzero(~usable)[0]) + 1
        notes.append(
            f"{key}: {int((~usable).sum())} of {len(table)} features have no usable {kind[:-1]} and are left out, "
            f"first number {first}"
        )
    table = table[usable].reset_index(drop=True)
    return VectorFile(_in_degrees(key, path, table, notes, kind), notes)


def attribute(key: str, name: str | None, table: gpd.GeoDataFrame, fallback: str | None = None) -> list[str] | None:
    """The values of an attribute as text, empty where there is none; None where none is chosen.

    Args:
        name: as it was typed; None: `fallback`, where the file has it.

    Raises:
        UserError: no such attribute.
    """
    names = [column for column in table.columns if column != table.geometry.name]
    chosen = name if name is not None else next((each for each in names if each.lower() == fallback), None)
    if chosen is None:
        return None
    if chosen not in names:
        raise UserError(
            f"{key}: no attribute '{chosen}'{did_you_mean(chosen, names)} (there are: {', '.join(names) or 'none'})"
        )
    return list(map(_as_text, table[chosen]))


def _as_text(value: object) -> str:
    if value is None or value != value:  # NaN and NaT are not equal to themselves
        return ""
    if isinstance(value, float) and value.is_integer():  # whole numbers beside missing ones arrive as such
        return str(int(value))
    return str(value).strip()


def _layer(key: str, path: Path, kind: str) -> tuple[str, Sequence[str]]:
    """The first layer of the kind, or the first of all, and the other layers of the kind."""
    try:
        layers = pyogrio.list_layers(path)
    except (pyogrio.errors.DataSourceError, ValueError, RuntimeError) as error:
        raise UserError(f"{key}: {path} cannot be read ({first_line(error)})") from None
    if not len(layers):
        raise UserError(f"{key}: {path} has no layer")
    of_kind = [name for name, geometry in layers if kind[:-1].replace("line", "linestring") in str(geometry).lower()]
    chosen = (of_kind or [layers[0][0]])[0]
    return chosen, [name for name in of_kind if name != chosen]


def _usable(table: gpd.GeoDataFrame, kind: str) -> np.ndarray:
    geometries = table.geometry.to_numpy()
    usable = np.isin(shapely.get_type_id(geometries), _TYPES[kind]) & ~shapely.is_empty(geometries)
    usable &= np.isfinite(shapely.bounds(geometries)).all(axis=1)
    coordinates, index = shapely.get_coordinates(geometries, return_index=True)
    usable[np.unique(index[~np.isfinite(coordinates).all(axis=1)])] = False
    return usable & (np.nan_to_num(shapely.length(geometries)) > 0)


def _in_degrees(key: str, path: Path, table: gpd.GeoDataFrame, notes: list[str], kind: str) -> gpd.GeoDataFrame:
    crs = table.crs
    table = table.set_geometry(shapely.force_2d(table.geometry.to_numpy()), crs=crs)
    try:
        table = table.to_crs(WGS84)
    except (ProjError, ValueError, RuntimeError) as error:
        raise UserError(f"{key}: {path}: its CRS is of no place on the Earth ({first_line(error)})") from None
    west, south, east, north = table.total_bounds
    if not (np.isfinite([west, south, east, north]).all() and south >= -90.0001 and north <= 90.0001) or (
        west < -540 or east > 540
    ):
        raise UserError(
            f"{key}: {path}: coordinates from {west:.6g}, {south:.6g} to {east:.6g}, {north:.6g} are no degrees; "
            f"the file says that its CRS is {crs.to_string()[:40]}"
        )
    if kind == "polygons":
        broken = ~table.geometry.is_valid
        if broken.any():
            notes.append(f"{key}: {int(broken.sum())} of {len(table)} polygons cross themselves and are repaired")
            table = table.set_geometry(table.geometry.make_valid(method="structure", keep_collapsed=False))
    return table

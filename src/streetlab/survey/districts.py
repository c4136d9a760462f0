"""Districts: polygons that segments and photos lie in."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from streetlab.errors import UserError
from streetlab.survey.projection import WGS84, Geometries, local_crs, project
from streetlab.survey.segments import Segments
from streetlab.survey.vector_files import VectorFile, attribute, read_vector


def read_districts(path: Path, district_name: str | None = None) -> VectorFile:
    """Read a file of polygons; those of the same name are one district.

    Returns:
        `district` and `geometry` in EPSG:4326, sorted by name, with notes.

    Raises:
        UserError: see `read_vector`; or no attribute of names.
    """
    file = read_vector("districts", path, "polygons")
    names = attribute("district_name", district_name, file.table, "name")
    if names is None:
        raise UserError(
            f"district_name: name the attribute with the districts' names; there are: "
            f"{', '.join(column for column in file.table.columns if column != file.table.geometry.name) or 'none'}"
        )
    notes = list(file.notes)
    table = gpd.GeoDataFrame({"district": names}, geometry=file.table.geometry.to_numpy(), crs=WGS84)
    if nameless := sum(not name for name in names):
        notes.append(f"districts: {nameless} of {len(names)} have no name and are left out")
        table = table[table["district"] != ""]
    return VectorFile(table.dissolve("district", sort=True).reset_index(), notes)


def add_districts(photos: pd.DataFrame, segments: Segments, districts: gpd.GeoDataFrame) -> pd.DataFrame:
    """Give each segment the district that its middle lies in, in place, and each photo that of its segment.

    Photos without a segment have the district that they lie in themselves.
    """
    crs = local_crs(shapely.get_coordinates(districts.geometry.to_numpy()))
    polygons = project(districts.geometry.to_numpy(), crs)
    names = districts["district"].to_numpy(object)
    geometries = segments.table.geometry.to_numpy()
    if len(geometries):
        segments.table["district"] = _names(_middles(project(geometries, crs)), polygons, names)
    by_segment = dict(zip(segments.table["segment"], segments.table["district"], strict=True))
    values = photos["segment"].map(by_segment).fillna("").to_numpy(object)
    alone = np.flatnonzero((photos["segment"] == "") & photos["lat"].notna())
    if len(alone):
        degrees = photos[["lon", "lat"]].to_numpy(np.float64)[alone]
        values[alone] = _names(project(shapely.points(degrees), crs), polygons, names)
    return photos.assign(district=values)


def _middles(geometries: Geometries) -> Geometries:
    """The point half way along each line; of an area, a point in it."""
    is_line = np.isin(shapely.get_type_id(geometries), (1, 5))
    middles: Geometries = shapely.point_on_surface(geometries)
    middles[is_line] = shapely.line_interpolate_point(geometries[is_line], 0.5, normalized=True)
    return middles


def _names(points: Geometries, polygons: Geometries, names: NDArray[np.object_]) -> NDArray[np.object_]:
    """The name of the polygon that each point lies in, of the first where several do; empty where none does."""
    result = np.full(len(points), "", dtype=object)
    point, polygon = shapely.STRtree(polygons).query(points, predicate="intersects")
    for index in np.lexsort((polygon, point))[::-1]:
        result[point[index]] = names[polygon[index]]
    return result

"""Streets as segments, and the street that each photo was taken in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from streetlab.survey.projection import WGS84, Geometries, lengths, local_crs, project
from streetlab.survey.segments import Segments
from streetlab.survey.vector_files import attribute, read_vector

_ACROSS = 0.5
"""A street at right angles to a photo's heading counts as further away by this share of the snap distance."""
_CHUNK = 20_000
"""Photos matched at once, which bounds the memory."""
_DECIMALS = 6
"""Of degrees, about 0.1 m, in the geometry that an id is made of."""


def read_streets(
    path: Path, street_id: str | None = None, street_name: str | None = None, strata: str | None = None
) -> Segments:
    """Read a file of streets as the whole population of segments.

    Lines of the same id are one segment. Without ids one is made of each line's geometry, so that the same street has
    the same id in another file, and lines that are there twice count once.

    Args:
        path: GeoPackage, GeoJSON or Shapefile, in any CRS.
        street_id: the attribute with the ids; None: made of the geometry.
        street_name: the attribute with the names; None: `name`, where there is one.
        strata: the attribute with the strata.

    Raises:
        UserError: see `read_vector`; or no such attribute.
    """
    file = read_vector("streets", path, "lines")
    table, notes = file.table, list(file.notes)
    geometries = table.geometry.to_numpy()
    ids = attribute("street_id", street_id, table) or list(map(_id_of, geometries))
    if street_id is not None and (nameless := sum(not each for each in ids)):
        notes.append(f"streets: {nameless} of {len(ids)} have no {street_id}; theirs are made of the geometry")
        ids = [each or _id_of(geometry) for each, geometry in zip(ids, geometries, strict=True)]
    columns = pd.DataFrame(
        {
            "segment": ids,
            "name": attribute("street_name", street_name, table, "name") or "",
            "stratum": attribute("strata", strata, table) or "",
            "row": np.arange(len(ids)),
        }
    )
    groups = columns.groupby("segment", sort=True)["row"].apply(list)
    if len(groups) < len(ids):
        rule = f"lines of the same {street_id} are one street" if street_id else "lines that are there twice count once"
        notes.append(f"streets: {len(ids)} lines are {len(groups)} streets: {rule}")
    merged = np.array([_merged(geometries[rows]) for rows in groups], dtype=object)
    first = columns.iloc[[rows[0] for rows in groups]]
    segments = gpd.GeoDataFrame(
        {
            "segment": groups.index.to_list(),
            "name": first["name"].to_list(),
            "length_m": lengths(merged).round(2),
            "district": "",
            "stratum": first["stratum"].to_list(),
        },
        geometry=merged,
        crs=WGS84,
    )
    return Segments(segments, "streets", True, tuple(notes))


def match(photos: pd.DataFrame, segments: Segments, snap: float) -> pd.DataFrame:
    """Give each photo the nearest street within `snap` metres, by heading where that is known.

    Of several streets in reach the one counts whose distance, and up to half of `snap` more the less the heading runs
    along it (either way), is smallest: at a crossing the heading decides, in the middle of a street it does not.

    Args:
        photos: with `lat`, `lon` and `heading`, NaN where there is none.
        segments: lines.

    Returns:
        The photos with `segment` (empty where no street is in reach) and `distance_m`.
    """
    photos = photos.assign(segment="", distance_m=np.nan)
    placed = np.flatnonzero(photos["lat"].notna() & photos["lon"].notna())
    geometries = segments.table.geometry.to_numpy()
    if not len(placed) or not len(geometries):
        return photos
    degrees = photos[["lon", "lat"]].to_numpy(np.float64)[placed]
    crs = local_crs(shapely.get_coordinates(geometries))
    edges, owner = _edges(project(geometries, crs))
    tree = shapely.STRtree(shapely.linestrings(edges))
    points = shapely.get_coordinates(project(shapely.points(degrees), crs))
    headings = photos["heading"].to_numpy(np.float64)[placed]
    ids = segments.table["segment"].to_numpy()
    column, distance = photos["segment"].to_numpy(object).copy(), np.full(len(photos), np.nan)
    for start in range(0, len(placed), _CHUNK):
        part = slice(start, start + _CHUNK)
        photo, edge = tree.query(shapely.points(points[part]), predicate="dwithin", distance=snap)
        metres = _distances(points[part][photo], edges[edge])
        cost = metres + snap * _ACROSS * _across(headings[part][photo], edges[edge])
        order = np.lexsort((owner[edge], cost, photo))
        nearest = order[np.unique(photo[order], return_index=True)[1]]
        rows = placed[part][photo[nearest]]
        column[rows] = ids[owner[edge[nearest]]]
        distance[rows] = metres[nearest].round(2)
    return photos.assign(segment=column, distance_m=distance)


def _edges(lines: Geometries) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The straight pieces (N, 2, 2) of the lines, in metres, and the line that each belongs to."""
    parts, line_of_part = shapely.get_parts(lines, return_index=True)
    points, part_of_point = shapely.get_coordinates(parts, return_index=True)
    same = part_of_point[1:] == part_of_point[:-1]
    edges = np.stack([points[:-1][same], points[1:][same]], axis=1)
    return edges, line_of_part[part_of_point[:-1][same]]


def _distances(points: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    along = edges[:, 1] - edges[:, 0]
    squared = (along**2).sum(axis=1)
    share = ((points - edges[:, 0]) * along).sum(axis=1) / np.where(squared > 0, squared, 1)
    nearest = edges[:, 0] + np.clip(share, 0, 1)[:, None] * along
    return np.hypot(*(points - nearest).T)


def _across(headings: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far headings are from running along edges: 0 along, either way, 1 at right angles; 0 without a heading.

    North of the projection is that of the map within 1 degree over a city, which does not change a choice.
    """
    along = edges[:, 1] - edges[:, 0]
    bearings = np.arctan2(along[:, 0], along[:, 1])
    return np.abs(np.sin(np.nan_to_num(np.radians(headings) - bearings, nan=0.0)))


def _merged(lines: Sequence[shapely.Geometry]) -> shapely.Geometry:
    return lines[0] if len(lines) == 1 else shapely.line_merge(shapely.union_all(lines))


def _id_of(line: shapely.Geometry) -> str:
    rounded = np.round(shapely.get_coordinates(line), _DECIMALS) + 0.0  # -0.0 and 0.0 are the same place
    return hashlib.sha256(rounded.astype("<f8").tobytes()).hexdigest()[:12]

"""Metres for a place: a projection centred on it, which holds at the antimeridian and at the poles as well."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

WGS84 = "EPSG:4326"
GEOD = Geod(ellps="WGS84")

Geometries = NDArray[np.object_]


def local_crs(degrees: NDArray[np.float64]) -> CRS:
    """The azimuthal equidistant projection about the centre of positions (N, 2), longitude and latitude.

    Distances are true from the centre; d away from it they are so to (d / 6371 km)² / 6 of themselves (Snyder, Map
    Projections, 1987, p. 191), 1e-5 at 50 km. Zones of UTM end within some cities, and do not reach the poles.
    """
    lon, lat = np.radians(degrees).T
    mean = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]).mean(axis=1)
    centre_lon = np.degrees(np.arctan2(mean[1], mean[0]))
    centre_lat = np.degrees(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))
    return CRS.from_proj4(f"+proj=aeqd +lat_0={centre_lat:.4f} +lon_0={centre_lon:.4f} +datum=WGS84 +units=m +no_defs")


def project(geometries: Geometries, crs: CRS) -> Geometries:
    """Geometries in degrees as ones in metres."""
    to_metres = Transformer.from_crs(WGS84, crs, always_xy=True)
    result: Geometries = shapely.transform(
        geometries, lambda degrees: np.column_stack(to_metres.transform(degrees[:, 0], degrees[:, 1]))
    )
    return result


def lengths(geometries: Geometries) -> NDArray[np.float64]:
    """The length of each line in metres, along the ellipsoid."""
    return np.array([GEOD.geometry_length(geometry) for geometry in geometries], dtype=np.float64)

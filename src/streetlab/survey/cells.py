"""Cells of the H3 grid as segments, where there is no file of streets."""

from __future__ import annotations

import geopandas as gpd
import h3
import numpy as np
import pandas as pd
from shapely import Polygon

from streetlab.survey.projection import WGS84
from streetlab.survey.segments import Segments


def into_cells(photos: pd.DataFrame, resolution: int) -> tuple[pd.DataFrame, Segments]:
    """Give each photo with a position the cell that it lies in.

    Args:
        photos: with `lat` and `lon`, NaN where there is none.
        resolution: of H3, 0 (4,300,000 km²) to 15 (1 m²).

    Returns:
        The photos with `segment` and `distance_m`, which is 0; and the cells with photos.
    """
    photos = photos.assign(segment="", distance_m=np.nan)
    placed = photos["lat"].notna()
    cells = [
        h3.latlng_to_cell(lat, lon, resolution)
        for lat, lon in zip(photos.loc[placed, "lat"], photos.loc[placed, "lon"], strict=True)
    ]
    photos.loc[placed, "segment"] = cells
    photos.loc[placed, "distance_m"] = 0.0
    ids = sorted(set(cells))
    table = {"segment": ids, "name": ids, "length_m": np.full(len(ids), np.nan), "district": "", "stratum": ""}
    return photos, Segments(gpd.GeoDataFrame(table, geometry=list(map(_polygon, ids)), crs=WGS84), "cells", False)


def _polygon(cell: str) -> Polygon:
    """The outline of a cell; one across the antimeridian reaches beyond 180 degrees."""
    corners = [(lon, lat) for lat, lon in h3.cell_to_boundary(cell)]
    if max(lon for lon, _ in corners) - min(lon for lon, _ in corners) > 180:
        corners = [(lon + 360 if lon < 0 else lon, lat) for lon, lat in corners]
    return Polygon(corners)

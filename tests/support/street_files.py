"""Files of streets and districts, made of geometries in degrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd


def write_features(
    path: Path, degrees: Sequence[Any], attributes: Mapping[str, Sequence[Any]] | None = None, crs: str | None = None
) -> Path:
    """Write geometries in longitude and latitude to a file in a CRS; None: the file does not say its CRS."""
    table = gpd.GeoDataFrame(dict(attributes or {}), geometry=list(degrees), crs="EPSG:4326")
    table = table.to_crs(crs) if crs else table.set_crs(None, allow_override=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_file(path)
    return path

"""The sampling units of a survey: streets, stretches of a track or cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import geopandas as gpd

Kind = Literal["streets", "stretches", "cells"]


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of streets, stretches of a track, or cells.

    Attributes:
        table: one row for each, in EPSG:4326: `segment` (unique text), `name`, `length_m` (NaN of cells), `district`,
            `stratum` (empty text where there are none), `geometry` (lines; of cells polygons).
        kind: what they are.
        population: the table holds every segment there is, those without photos too.
        notes: what the reader should know of how they were read, in sentences.
    """

    table: gpd.GeoDataFrame
    kind: Kind
    population: bool
    notes: tuple[str, ...] = ()

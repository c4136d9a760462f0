"""The tables as the page holds them: columns, names as numbers, shapes as steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from streetlab.survey.styles import CHANGES, COLORS, STEPS, UNSEEN, is_unsure

if TYPE_CHECKING:
    import geopandas
    import pandas
    from shapely.geometry.base import BaseGeometry

_DEGREE = 1_000_000
"""Shapes are in millionths of a degree, 11 cm at most."""
_CHANGES = ("change", "change_low", "change_high")


def page_data(
    photos: pandas.DataFrame,
    segments: geopandas.GeoDataFrame,
    districts: geopandas.GeoDataFrame | None,
    survey: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON that survey_data.js reads; photos in the order of their segments, those without one left out."""
    place = {segment: number for number, segment in enumerate(segments["segment"])}
    order = photos["segment"].map(place)
    matched = photos.assign(_order=order)[order.notna()].sort_values("_order", kind="stable")
    counts = matched["_order"].value_counts()
    names = _distinct(segments, "district")
    grades = grade_names(survey) or _distinct(matched, "grade")
    severity, low, high = (_numbers(segments, name) for name in ("severity", "severity_low", "severity_high"))
    uncertain = _flags(segments, "uncertain")
    columns = {
        "id": segments["segment"].tolist(),
        "name": _texts(segments, "name"),
        "district": _places(segments, "district", names),
        "length": _numbers(segments, "length_m"),
        "photos": [int(counts.get(number, 0)) for number in range(len(segments))],
        "severity": severity,
        "low": low,
        "high": high,
        "unsure": [
            int(is_unsure(np.nan if bottom is None else bottom, np.nan if top is None else top, bool(few)))
            for bottom, top, few in zip(low, high, uncertain, strict=True)
        ],
        "shape": [_shape(geometry) for geometry in _unwrapped(segments)],
    }
    if "change" in segments:
        columns |= {name: _numbers(segments, name) for name in _CHANGES}
    return {
        "kind": kind_of(survey),
        "districts": names,
        "grades": grades,
        "steps": STEPS,
        "colors": COLORS,
        "unseen": UNSEEN,
        "changes": {"better": CHANGES["better"], "unclear": CHANGES["equivalent"], "worse": CHANGES["worse"]},
        "borders": [] if districts is None else [_shape(geometry) for geometry in _unwrapped(districts)],
        "segments": columns,
        "photos": _photo_columns(matched, grades),
    }


def grade_names(survey: Mapping[str, Any]) -> list[str]:
    """The grades of the survey's scale, from the cleanest."""
    return [str(grade["grade"]) for grade in survey.get("scale", {}).get("grades", ())]


def kind_of(survey: Mapping[str, Any]) -> str:
    """The word for the survey's segments: streets, stretches or cells."""
    return str(survey.get("segments", {}).get("kind", "streets"))


def _photo_columns(photos: pandas.DataFrame, grades: list[str]) -> dict[str, Any]:
    classes = _distinct(photos, "prediction")
    columns: dict[str, Any] = {
        "file": photos["file"].tolist(),
        "time": _texts(photos, "time"),
        "classes": classes,
        "label": _places(photos, "prediction", classes),
        "confidence": [None if share is None else round(100 * share) for share in _numbers(photos, "confidence", 4)],
        "severity": _numbers(photos, "severity", 1),
        "grade": _places(photos, "grade", grades),
        "unlike": _flags(photos, "unlike_training"),
    }
    for name in ("human_grade", "picture", "evidence"):
        texts = _texts(photos, name)
        if any(texts):
            columns[name] = texts
    return columns


def _distinct(table: pandas.DataFrame, name: str) -> list[str]:
    return sorted(set(_texts(table, name)) - {""})


def _texts(table: pandas.DataFrame, name: str) -> list[str]:
    """A column of text; empty where it, or a value of it, is missing."""
    if name not in table:
        return [""] * len(table)
    return [value if isinstance(value, str) else "" for value in table[name].tolist()]


def _places(table: pandas.DataFrame, name: str, names: list[str]) -> list[int]:
    """A column of text as places in `names`, -1 where it is missing."""
    places = {value: number for number, value in enumerate(names)}
    return [places.get(value, -1) for value in _texts(table, name)]


def _numbers(table: pandas.DataFrame, name: str, decimals: int = 4) -> list[float | None]:
    """A column of numbers, None where it, or a value of it, is missing."""
    if name not in table:
        return [None] * len(table)
    values = table[name].astype(float).round(decimals).tolist()
    return [value if np.isfinite(value) else None for value in values]


def _flags(table: pandas.DataFrame, name: str) -> list[int]:
    """A column of truths as 0 and 1, 0 where it, or a value of it, is missing."""
    if name not in table:
        return [0] * len(table)
    return table[name].astype("boolean").fillna(False).astype(int).tolist()


def _unwrapped(table: geopandas.GeoDataFrame) -> list[BaseGeometry]:
    """The shapes, with those west of the antimeridian's other side moved by a turn where the table spans it."""
    from shapely import transform

    west, _, east, _ = table.total_bounds
    if not east - west > 180:
        return table.geometry.tolist()
    return [
        transform(shape, lambda points: np.column_stack([points[:, 0] % 360, points[:, 1]])) for shape in table.geometry
    ]


def _shape(geometry: BaseGeometry | None) -> list[Any]:
    """Encode [1 of an area and 0 of lines, part, ...], each part the steps [x, y, dx, dy, ...] from point to point."""
    if geometry is None or geometry.is_empty:
        return [0]
    parts = [
        part
        for part in getattr(geometry, "geoms", [geometry])
        if part.geom_type in ("LineString", "LinearRing", "Polygon")
    ]
    area = any(part.geom_type == "Polygon" for part in parts)
    lines = [ring for part in parts for ring in ([part.exterior, *part.interiors] if area else [part])]
    return [int(area), *(_steps(np.asarray(line.coords)[:, :2]) for line in lines)]


def _steps(points: np.ndarray) -> list[int]:
    whole = np.rint(points * _DEGREE).astype(np.int64)
    return np.diff(whole, axis=0, prepend=np.zeros((1, 2), dtype=np.int64)).ravel().tolist()

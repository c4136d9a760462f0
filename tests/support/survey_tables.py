"""Small tables of a survey, written by hand: two districts, five streets, nine photos."""

from __future__ import annotations

from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
from shapely.geometry import LineString, box

HOSTILE = '<script>document.title = "taken"</script> "Rue" & \'Söhne\''
NAN = float("nan")


class Tables(NamedTuple):
    photos: pd.DataFrame
    segments: geopandas.GeoDataFrame
    districts: geopandas.GeoDataFrame
    survey: dict[str, Any]


def tables(trend: bool = False) -> Tables:
    """The tables as the command holds them; `b` has a hostile name, `e` has no photo."""
    streets = [
        # id, name, district, photos, severity, low, high, uncertain, change, change_low, change_high, change_p
        ("a", "Main Street", "North", 4, 12.5, 5.0, 20.0, False, -20.0, -30.0, -10.0, 0.001),
        ("b", HOSTILE, "North", 2, 55.0, 30.0, 80.0, False, 1.0, -15.0, 17.0, 0.9),
        ("c", "Short Lane", "South", 1, 98.0, NAN, NAN, True, NAN, NAN, NAN, NAN),
        ("d", "Long Road", "South", 2, 80.0, 70.0, 90.0, False, 25.0, 10.0, 40.0, 0.002),
        ("e", "", "South", 0, NAN, NAN, NAN, True, NAN, NAN, NAN, NAN),
    ]
    lines = [LineString([(4.36 + 0.002 * i, 52.01), (4.361 + 0.002 * i, 52.012), (4.361 + 0.002 * i, 52.014)])
             for i in range(len(streets))]  # fmt: skip
    columns = ["segment", "name", "district", "photos", "severity", "severity_low", "severity_high", "uncertain",
               "change", "change_low", "change_high", "change_p"]  # fmt: skip
    segments = geopandas.GeoDataFrame(streets, columns=columns, geometry=lines, crs="EPSG:4326")
    segments.insert(2, "length_m", [440.1, 440.1, 440.1, 440.1, 440.1])
    segments["acceptable"] = [1.0, 0.5, 0.0, 0.0, NAN]
    if not trend:
        segments = segments.drop(columns=[name for name in columns if name.startswith("change")])
    districts = geopandas.GeoDataFrame(
        {"district": ["North", "South"], "segments_total": [2, 3], "segments_seen": [2, 2], "photos": [6, 3],
         "severity": [33.75, 89.0], "low": [10.0, 70.0], "high": [57.5, 100.0], "estimator": ["plug_in", "plug_in"]},
        geometry=[box(4.359, 52.009, 4.3632, 52.015), box(4.3632, 52.009, 4.37, 52.015)], crs="EPSG:4326",
    )  # fmt: skip
    return Tables(_photos(), segments, districts, _survey(trend))


def _photos() -> pd.DataFrame:
    rows = [
        # file, segment, time, prediction, confidence, severity, grade
        ("1.jpg", "a", "2026-05-01T08:00:00Z", "clean", 0.98, 2.0, "Clean"),
        ("2.jpg", "a", "2026-05-02T08:00:00Z", "clean", 0.9, 8.0, "Clean"),
        ("3.jpg", "a", "2026-05-03T08:00:00Z", "clean", 0.8, 15.0, "Clean"),
        ("4.jpg", "a", "2026-06-01T08:00:00Z", "clean", 0.7, 25.0, "Medium"),
        (HOSTILE + ".jpg", "b", "2026-05-01T09:00:00", "medium", 0.6, 50.0, "Medium"),
        ("6.jpg", "b", "2026-06-02T08:00:00Z", "medium", 0.7, 60.0, "Medium"),
        ("7.jpg", "c", "", "litter", 0.97, 98.0, "Litter"),
        ("8.jpg", "d", "2026-06-03T08:00:00Z", "litter", 0.8, 78.0, "Litter"),
        ("9.jpg", "d", "2026-06-04T08:00:00Z", "litter", 0.85, 82.0, "Litter"),
        ("lost.jpg", "", "", "clean", 0.9, 5.0, "Clean"),
    ]
    photos = pd.DataFrame(rows, columns=["file", "segment", "time", "prediction", "confidence", "severity", "grade"])
    photos.insert(1, "lat", [*np.linspace(52.0101234, 52.0139876, 9).round(7), NAN])
    photos.insert(2, "lon", [*np.linspace(4.3601234, 4.3689876, 9).round(7), NAN])
    photos["heading"] = [NAN, *np.linspace(0, 359, 9)]
    photos["acceptable"] = photos["severity"] < 67
    photos["unlike_training"] = [None, True, *[False] * 8]
    photos["human_grade"] = ["Clean", *[""] * 9]
    photos["picture"] = ["pictures/1.jpg", "pictures/2.jpg", *[""] * 8]
    return photos


def _survey(trend: bool) -> dict[str, Any]:
    def estimate(area: str, level: str, measure: str, estimator: str, value: float, low: float, high: float) -> Any:
        return {"area": area, "level": level, "measure": measure, "estimator": estimator, "n_segments": 4,
                "n_photos": 9, "n_graded": 0, "value": value, "low": low, "high": high,
                "assumes": "the streets are a random sample"}  # fmt: skip

    return {
        "name": "spring",
        "made": "2026-11-28T12:00:00Z",
        "scale": {"name": "severity", "title": "Severity",
                  "grades": [{"grade": grade} for grade in ("Clean", "Medium", "Litter")],
                  "source": "this study", "note": "mapping not validated on streets"},
        "inputs": {"streets": "0" * 64},
        "assumptions": ["The streets are a random sample of the city's.", "<b>No</b> photo shows two streets."],
        "photos": {"total": 10, "placed": 9, "matched": 9, "without_place": ["lost.jpg"]},
        "estimates": [
            estimate("all", "all", "severity", "plug_in", 61.4, 30.1, 92.7),
            estimate("all", "all", "acceptable", "plug_in", 0.5, 0.1, 0.9),
            estimate("North", "district", "severity", "plug_in", 33.75, 10.0, 57.5),
            estimate("South", "district", "severity", "plug_in", 89.0, 70.0, 100.0),
        ],
        "trend": [{"area": "all", "level": "all", "n_segments": 3, "change": 2.0, "low": -20.0, "high": 24.0, "p": 0.8,
                   "p_adjusted": 0.8, "smallest": 31.0, "delta": 5.0, "verdict": "not enough data",
                   "assumes": "the model errs now as it did then"}] if trend else [],
    }  # fmt: skip

"""Photos and segments of a survey with a known truth, as the survey's tables hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import yaml
from shapely.geometry import LineString

from streetlab.config.composition import config_folder
from streetlab.survey.scales import Scale, read_scale
from streetlab.survey.severity import add_severity

CLASSES = ("Clean", "Medium", "Litter")


def scale(name: str = "severity") -> Scale:
    """The scale of that name in conf/."""
    return read_scale(yaml.safe_load(Path(config_folder(), "scale", f"{name}.yaml").read_text()))


def segment_table(
    count: int,
    districts: Sequence[str] | None = None,
    strata: Sequence[str] | None = None,
    lengths: Sequence[float] | None = None,
) -> gpd.GeoDataFrame:
    """Streets side by side, `s000`, `s001`, ..."""
    columns = {
        "segment": [f"s{i:03}" for i in range(count)],
        "name": "",
        "length_m": 100.0 if lengths is None else lengths,
        "district": "" if districts is None else districts,
        "stratum": "" if strata is None else strata,
    }
    lines = [LineString([(4.3 + 0.001 * i, 52.0), (4.3 + 0.001 * i, 52.001)]) for i in range(count)]
    return gpd.GeoDataFrame(columns, geometry=lines, crs="EPSG:4326")


def photo_table(segments: Sequence[int], probabilities: np.ndarray, on: Scale | None = None) -> pd.DataFrame:
    """Photos with their severity; `segments` holds the number of each photo's street, -1 for none."""
    names = ["" if number < 0 else f"s{number:03}" for number in segments]
    table = pd.DataFrame({"file": [f"{i:04}.jpg" for i in range(len(names))], "segment": names})
    table["prediction"] = np.array(CLASSES)[np.nan_to_num(probabilities).argmax(axis=1)]
    table[[f"p_{name}" for name in CLASSES]] = probabilities
    return add_severity(table, on or scale())


def drawn_photos(rng: np.random.Generator, segments: np.ndarray, bias: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """True classes of photos, alike within a street, and a model's probabilities, which see litter too seldom."""
    dirt = rng.normal(size=int(segments.max()) + 1)[segments] + rng.normal(size=len(segments))
    label = np.searchsorted([0.0, 1.2], dirt)
    logits = 2.0 * (np.arange(3) == label[:, None]) + 0.8 * rng.normal(size=(len(segments), 3)) - [0, 0, bias]
    weights = np.exp(logits)
    return label, weights / weights.sum(axis=1, keepdims=True)

"""How long a survey of many photos takes without the network, and how much memory.

python benchmarks/survey_size.py [PHOTOS [STREETS]]

Photos (100,000 by default) lie within 12 m of the streets (10,000) of a drawn city, half of them with a heading; their
predictions are read from a table, as of `streetlab predict`. The survey runs in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import LineString

CLASSES = ("Clean", "Medium", "Litter")
BLOCK = 100
"""Metres from one crossing to the next."""


def main() -> None:
    photos, streets = (int(word) for word in (*sys.argv[1:], *("100000", "10000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = write_streets(folder / "streets.gpkg", streets)
        write_photos(folder / "predictions.csv", lines, photos)
        words = ["source=predictions.csv", "streets=streets.gpkg", "street_id=id", "output=out"]
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "streetlab", "survey", *words], cwd=folder, check=True)
        seconds = time.perf_counter() - started
        sizes = " ".join(f"{path.name} {path.stat().st_size / 2**20:.1f} MiB" for path in sorted(folder.glob("out/*")))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("| photos | streets | seconds | of a processor, s | peak memory, MiB | files |")
    print("|---|---|---|---|---|---|")
    processor, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"| {photos:,} | {len(lines):,} | {seconds:.1f} | {processor:.1f} | {memory:.0f} | {sizes} |")


def write_streets(path: Path, count: int) -> list[LineString]:
    """Write the streets of a grid of crossings, each bent a little, in UTM; return them in metres."""
    side = int(np.ceil(np.sqrt(count / 2)))
    random = np.random.default_rng(0)
    lines = []
    for row in range(side):
        for column in range(side):
            start = np.array([630_000 + column * BLOCK, 5_800_000 + row * BLOCK], dtype=float)
            for step in ((BLOCK, 0), (0, BLOCK)):
                middles = [start + np.array(step) * share + random.normal(0, 2, 2) for share in (0.25, 0.5, 0.75)]
                lines.append(LineString([start, *middles, start + step]))
    lines = lines[:count]
    gpd.GeoDataFrame({"id": [f"w{n}" for n in range(len(lines))]}, geometry=lines, crs="EPSG:32631").to_file(path)
    return lines


def write_photos(path: Path, lines: list[LineString], count: int) -> None:
    """Write the table of predictions of photos beside the streets."""
    random = np.random.default_rng(1)
    chosen = random.integers(0, len(lines), count)
    metres = [
        lines[line].interpolate(share, normalized=True)
        for line, share in zip(chosen, random.random(count), strict=True)
    ]
    points = gpd.GeoSeries(metres, crs="EPSG:32631")
    points = points.translate(*random.uniform(-8, 8, 2)).to_crs(4326)
    probabilities = random.dirichlet((1, 1, 1), count).round(6)
    table = {
        "file": [f"{number:06d}.jpg" for number in range(count)],
        "prediction": [CLASSES[index] for index in probabilities.argmax(axis=1)],
        "confidence": probabilities.max(axis=1),
        **{f"p_{name}": probabilities[:, number] for number, name in enumerate(CLASSES)},
        "lat": points.y.round(7),
        "lon": points.x.round(7),
        "time": "2025-03-14T08:00:00Z",
        "heading": np.where(random.random(count) < 0.5, random.uniform(0, 360, count).round(1), np.nan),
    }
    pd.DataFrame(table).to_csv(path, index=False)


if __name__ == "__main__":
    main()

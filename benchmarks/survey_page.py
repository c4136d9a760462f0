"""How fast a survey's page of many photos opens in headless Chromium, and how its map moves.

python benchmarks/survey_page.py [PHOTOS [STREETS]]

Photos (100,000 by default) lie on the streets (10,000) of a drawn city. WebGL is SwiftShader's, on the processor.
Frames are counted while the whole city is panned, the most that can be seen, and in a close view. A frame's
milliseconds of a processor, in all of Chromium's processes, depend less on what else the machine does.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import psutil
from playwright.sync_api import Page, sync_playwright
from survey_size import write_streets

from streetlab.survey.page import write_page

FRAMES = 120
PAN = """frames => new Promise(resolve => {
  const {map} = document.getElementById("map");
  let left = frames;
  const started = performance.now();
  const step = () => {
    map.panBy([left % 60 < 30 ? 6 : -6, 2], {duration: 0});
    if (left--) requestAnimationFrame(step);
    else resolve(performance.now() - started);
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    photos, streets = (int(word) for word in (*sys.argv[1:], *("100000", "10000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = write(Path(folder), photos, streets)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-unsafe-swiftshader"],
        )
        page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
        started, before = time.perf_counter(), processor_seconds()
        page.goto(path.as_uri())
        page.wait_for_selector("#streets tr")
        listed = time.perf_counter() - started
        page.wait_for_selector("#map[data-drawn]", timeout=120_000)
        drawn, used = time.perf_counter() - started, processor_seconds() - before
        print(f"{photos:,} photos on {streets:,} streets: {path.stat().st_size / 2**20:.1f} MiB")
        print(f"listed after {listed:.2f} s, map drawn after {drawn:.2f} s ({used:.2f} s of a processor)")
        show("whole city", *pan(page))
        page.evaluate("document.getElementById('map').map.zoomTo(15, {animate: false})")
        page.wait_for_timeout(3000)
        show("close view", *pan(page))
        chosen = timed(lambda: page.locator("#streets button").first.click())
        filtered = timed(lambda: page.select_option("select[name=grade]", index=1))
        print(f"a street's photos after {chosen:.2f} s, a filter after {filtered:.2f} s")
        browser.close()


def show(view: str, rate: float, seconds: float) -> None:
    print(f"panning, {view}: {rate:.1f} frames/s, {1000 * seconds:.1f} ms of a processor for a frame")


def pan(page: Page) -> tuple[float, float]:
    """Frames per second, and seconds of a processor for each."""
    before = processor_seconds()
    milliseconds = page.evaluate(PAN, FRAMES)
    return 1000 * FRAMES / milliseconds, (processor_seconds() - before) / FRAMES


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def processor_seconds() -> float:
    """Seconds of a processor that the processes of Chromium have used."""
    times = [each.cpu_times() for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    return sum(each.user + each.system for each in times)


def write(folder: Path, photos: int, streets: int) -> Path:
    """Write the page of a drawn city with photos of random severity."""
    random = np.random.default_rng(0)
    lines = gpd.GeoSeries(write_streets(folder / "streets.gpkg", streets), crs="EPSG:32631").to_crs(4326)
    severity = random.beta(1, 2, photos) * 100
    names = [f"w{number}" for number in range(len(lines))]
    table = pd.DataFrame({
        "file": [f"2025-03-14/camera-left/{number:06d}.jpg" for number in range(photos)],
        "segment": random.choice(names, photos),
        "time": "2025-03-14T08:00:00Z",
        "prediction": random.choice(["Clean", "Medium", "Litter"], photos),
        "confidence": random.uniform(0.4, 1, photos),
        "severity": severity,
        "grade": np.array(["Clean", "Medium", "Litter"])[np.digitize(severity, [25, 75])],
    })  # fmt: skip
    of_street = table.groupby("segment")["severity"].agg(["mean", "count"]).reindex(names)
    half = 1.96 * severity.std() / np.sqrt(of_street["count"])
    segments = gpd.GeoDataFrame({
        "segment": names, "name": [f"Street {number}" for number in range(len(names))], "district": "all of it",
        "length_m": 100.0, "severity": of_street["mean"].to_numpy(),
        "severity_low": (of_street["mean"] - half).to_numpy(),
        "severity_high": (of_street["mean"] + half).to_numpy(), "uncertain": (of_street["count"] < 3).to_numpy(),
    }, geometry=lines.to_numpy(), crs="EPSG:4326")  # fmt: skip
    return write_page(folder, table, segments, None, {"name": "drawn city"})


if __name__ == "__main__":
    main()

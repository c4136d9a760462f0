"""The page that the command writes, against the files beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("geopandas", reason="surveys need streetlab[survey]")
from shapely.geometry import LineString, box
from tests.support.axe import faults
from tests.support.street_files import write_features
from tests.support.survey_pages import drawn, listed, wait_until_drawn
from tests.support.survey_tables import HOSTILE

from streetlab import cli
from streetlab.survey.styles import CHANGES, COLORS, STEPS, UNSEEN


def write_predictions(path: Path, share_of_litter: float) -> Path:
    """A table as of `predict`: ten photos along each of four streets, ever more litter from the first to the last."""
    random = np.random.default_rng(5)
    rows = []
    for street in range(4):
        for number in range(10):
            litter = float(np.clip(share_of_litter * street / 2 + random.normal(0, 0.02), 0, 1))
            rows.append({
                "file": f"{street}-{number}.jpg", "prediction": "Litter" if litter > 0.5 else "Clean",
                "confidence": max(litter, 1 - litter), "p_Clean": 1 - litter, "p_Medium": 0.0, "p_Litter": litter,
                "lat": 52.0102 + 0.0003 * number, "lon": 4.36 + 0.002 * street,
                "time": f"2026-05-0{1 + street}T08:00:00Z",
            })  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_the_command_s_page_shows_what_its_files_say(tmp_path, visit, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [LineString([(4.36 + 0.002 * i, 52.01), (4.36 + 0.002 * i, 52.013)]) for i in range(5)]
    names = ["First", "Second", HOSTILE, "Fourth", "Fifth"]
    write_features(tmp_path / "streets.gpkg", lines, {"id": list("abcde"), "name": names}, "EPSG:28992")
    areas = [box(4.359, 52.009, 4.3632, 52.014), box(4.3632, 52.009, 4.37, 52.014)]
    write_features(tmp_path / "districts.geojson", areas, {"name": ["North", "South"]}, "EPSG:4326")
    words = ["survey", "streets=streets.gpkg", "street_id=id", "districts=districts.geojson", "device=cpu"]
    before = write_predictions(tmp_path / "before.csv", 0.2)
    now = write_predictions(tmp_path / "now.csv", 0.6)
    (tmp_path / "grades.csv").write_text("file,grade\n" + "".join(f"{i}-{i}.jpg,Medium\n" for i in range(4)))
    assert cli.run([*words, f"source={before}", "output=before"]) == 0
    assert cli.run([*words, f"source={now}", "output=now", "baseline=before", "grades=grades.csv"]) == 0
    page = visit(tmp_path / "now" / "survey.html")
    segments = pd.read_csv(tmp_path / "now" / "segments.csv").set_index("segment")
    steps = np.minimum(np.digitize(segments["severity"], STEPS[1:]), len(COLORS) - 1)
    wanted = {name: COLORS[step] for name, step in zip(segments.index, steps, strict=True)} | {"e": UNSEEN}
    assert {street: color for street, (_, color) in drawn(page).items()} == wanted
    ranked = segments.sort_values("severity_low", ascending=False)["name"]
    assert listed(page) == [" ".join(name.split()) for name in ranked]
    estimates = json.loads((tmp_path / "now" / "survey.json").read_text())["estimates"]
    assert page.locator("main table.numbers tbody tr").count() >= len(estimates)
    page.select_option("select[name=layer]", "change")
    wait_until_drawn(page, "change")
    signs = np.sign(segments["change_low"]) + np.sign(segments["change_high"])
    verdicts = {-2: "better", 0: "equivalent", 2: "worse"}
    changes = {name: CHANGES[verdicts[sign]] for name, sign in signs.dropna().items()} | {"e": UNSEEN}
    assert {street: color for street, (_, color) in drawn(page).items()} == changes
    page.get_by_role("button", name="Second").click()
    assert "Medium by a person" in page.locator("#street .human").all_text_contents()
    assert faults(page) == []

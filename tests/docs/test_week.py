"""The commands of docs/start/week.md run, one after the other, to the page of results."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from shapely import LineString, box
from tests.support.crafted_runs import CLASSIFIER, write_run
from tests.support.placed_photos import photo_at
from tests.support.street_files import write_features

from streetlab import cli

PAGE = (Path(__file__).parents[2] / "docs" / "start" / "week.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("streetlab ")
]

STREETS = [LineString([(3.99, 52), (4.0015, 52)]), LineString([(4.0015, 52), (4.01, 52)])]


@pytest.mark.slow
def test_a_week_of_photos_ends_with_the_page(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    write_run(tmp_path / "outputs/cleanliness/RUN", CLASSIFIER)
    points = ""
    for number in range(4):
        photo_at(tmp_path / f"week/{number}.jpg", 52.0, 4.0 + number * 1e-3, f"2025:03:14 09:00:0{number}", seed=number)
        time = f"2025-03-14T08:00:{number + 12}Z"
        points += f'<trkpt lat="52.5" lon="{5 + number * 1e-3}"><time>{time}</time></trkpt>'
        photo_at(tmp_path / f"next_week/{number}.jpg", 52.0, 4.0 + number * 1e-3, seed=number + 9)
    (tmp_path / "grades.csv").write_text("file,grade\n0.jpg,Clean\n2.jpg,Litter\n3.jpg,Medium\n")
    (tmp_path / "week.gpx").write_text(
        f'<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{points}</trkseg></trk></gpx>'
    )
    write_features(tmp_path / "streets.gpkg", STREETS, {"id": ["a", "b"]}, "EPSG:28992")
    write_features(tmp_path / "districts.gpkg", [box(3, 51, 5, 53)], {"name": ["Centre"]}, "EPSG:28992")
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        assert cli.run(shlex.split(command)[1:]) == 0, f"{command}: {capfd.readouterr().err}"
    printed = capfd.readouterr().out
    assert printed.count("4 of 4 photos have a place, 4 a segment") == 5
    assert "2 of 2 streets have photos" in printed
    (address,) = opened
    assert address.endswith("/outputs/survey/week_11/survey.html")
    assert "by_track" not in address
    places = (tmp_path / "outputs/survey/by_track/photos.csv").read_text()
    assert places.count(",track,") == 4
    graded, later = (json.loads((tmp_path / f"outputs/survey/{name}/survey.json").read_text()) for name in
                     ("week_11_graded", "week_12"))  # fmt: skip
    assert "human" in {row["estimator"] for row in graded["estimates"]}
    assert later["trend"]

"""`streetlab survey`: photos with places in, tables of streets out; what is wrong is named and nothing is lost."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
from pyproj import Geod
from shapely import LineString, box
from tests.support.crafted_runs import CLASSIFIER, SEGMENTER, write_run
from tests.support.killed_predictions import kill_half_way
from tests.support.placed_photos import NOTHING, photo_at, read_by_exiftool, write_photo
from tests.support.street_files import write_features

from streetlab import cli
from streetlab.inference.predictor import Predictor

AMSTERDAM = (52.37, 4.89)
Survey = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("survey") / "classifier", CLASSIFIER).path


@pytest.fixture
def survey(capfd, tmp_path, monkeypatch) -> Survey:
    """`survey("key=value", ..., code=0)`: the lines of the command's output and of its errors, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def survey_(*words: str, code: int = 0) -> tuple[list[str], list[str]]:
        capfd.readouterr()
        assert cli.run(["survey", "device=cpu", *words]) == code, capfd.readouterr().err
        printed = capfd.readouterr()
        return printed.out.splitlines(), printed.err.splitlines()

    return survey_


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """How many photos the network is shown, call by call."""
    counts: list[int] = []
    original = Predictor.predict

    def counting(self, photos, activations=False, **named):
        counts.append(len(photos))
        return original(self, photos, activations, **named)

    monkeypatch.setattr(Predictor, "predict", counting)
    return counts


def table(path: Path, key: str) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row[key]: row for row in csv.DictReader(file)}


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def week(folder: Path) -> Path:
    """Six photos: three along a street to the east, one far away, two without a place."""
    lat, lon = AMSTERDAM
    for number in range(3):
        photo_at(folder / f"{number}.jpg", lat, lon + number * 1e-3, f"2025:03:14 08:0{number}:02+01:00", 90, number)
    photo_at(folder / "far.jpg", lat + 0.1, lon, seed=4)
    photo_at(folder / "nowhere.jpg", None, None, seed=5)
    zeros = (NOTHING, NOTHING, NOTHING)
    write_photo(
        folder / "zeros.jpg", GPSLatitudeRef="N", GPSLatitude=zeros, GPSLongitudeRef="E", GPSLongitude=zeros, seed=6
    )
    return folder


def test_photos_become_cells_and_those_without_a_place_are_listed(survey, run_folder, seen, tmp_path):
    week(tmp_path / "week")
    out, err = survey(f"run={run_folder}", "source=week")
    folder = Path("outputs/survey/week")
    cells = len(table(folder / "segments.csv", "segment"))
    assert out[:2] == ["4 of 6 photos have a place, 4 a segment", f"{cells} of {cells} cells have photos"]
    assert out[-1] == str(folder / "survey.html")
    assert err == [
        "streetlab: photos without a place: 2 of 6; survey.json lists them",
        "  nowhere.jpg: no GPS position in its EXIF",
        "  zeros.jpg: its GPS position nan, nan: not finite",
    ]
    photos = table(folder / "photos.csv", "file")
    assert list(photos) == ["0.jpg", "1.jpg", "2.jpg", "far.jpg", "nowhere.jpg", "zeros.jpg"]
    first = photos["0.jpg"]
    assert {key: first[key] for key in ("lat", "lon", "time", "heading", "place")} == {
        "lat": "52.37", "lon": "4.89", "time": "2025-03-14T07:00:02Z", "heading": "90.0", "place": "exif"
    }  # fmt: skip
    assert float(first["p_Clean"]) + float(first["p_Medium"]) + float(first["p_Litter"]) == pytest.approx(1, abs=1e-5)
    assert photos["nowhere.jpg"]["prediction"] in ("Clean", "Medium", "Litter")
    assert (photos["zeros.jpg"]["lat"], photos["zeros.jpg"]["segment"], photos["zeros.jpg"]["place"]) == (
        "",
        "",
        "none",
    )
    summary = json.loads((folder / "survey.json").read_text())
    assert summary["photos"] == {
        "total": 6, "placed": 4, "matched": 4,
        "without_place": [
            {"file": "nowhere.jpg", "why": "no GPS position in its EXIF"},
            {"file": "zeros.jpg", "why": "its GPS position nan, nan: not finite"},
        ],
    }  # fmt: skip
    (reason,) = summary["uncorrected"]  # this run was tested on nothing
    assert reason.startswith("No estimates rogan_gladen and em: the run's test part cannot be used (")
    assert str(run_folder / "predictions.csv") in reason
    assert reason in out
    assert "No estimates rogan_gladen and em" in (folder / "survey.html").read_text()
    before = results(folder)
    seen.clear()
    survey(f"run={run_folder}", "source=week")
    assert seen == []
    assert results(folder) == before


@pytest.mark.slow
def test_real_photos_are_where_exiftool_puts_them(survey, run_folder, shared_data):
    folder = shared_data("geo") / "photos"
    out, err = survey(f"run={run_folder}", f"source={folder}", "output=out")
    assert (out[0], err) == ("7 of 7 photos have a place, 7 a segment", [])
    geod = Geod(ellps="WGS84")
    for name, row in table(Path("out/photos.csv"), "file").items():
        oracle = read_by_exiftool(folder / name)
        ends = (float(row["lon"]), float(row["lat"]), oracle["GPSLongitude"], oracle["GPSLatitude"])
        assert geod.inv(*ends)[2] < 1
        assert row["time"].endswith("Z")


@pytest.mark.slow
def test_a_table_of_predictions_is_surveyed_without_a_run(survey, run_folder, seen, tmp_path):
    week(tmp_path / "week")
    survey(f"run={run_folder}", "source=week")
    seen.clear()
    out, _ = survey("source=outputs/survey/week/predictions/predictions.csv", "output=again")
    assert out[0] == "4 of 6 photos have a place, 4 a segment"
    assert seen == []
    again, first = (table(Path(folder, "photos.csv"), "file") for folder in ("again", "outputs/survey/week"))
    first["zeros.jpg"]["place_note"] = "no GPS position in its EXIF"  # a table keeps no reasons
    assert again == first
    assert results(Path("again"))["segments.csv"] == results(Path("outputs/survey/week"))["segments.csv"]


def test_streets_districts_and_strata_of_files(survey, run_folder, tmp_path):
    week(tmp_path / "week")
    lat, lon = AMSTERDAM
    lines = [
        LineString([(lon - 1e-3, lat + 1e-4), (lon + 3e-3, lat + 1e-4)]),
        LineString([(lon, lat), (lon, lat + 0.01)]),
    ]
    attributes = {"id": ["a", "b"], "name": ["Damrak", "<b>"], "use": ["shops", "homes"]}
    write_features(tmp_path / "streets.gpkg", lines, attributes, "EPSG:28992")
    areas = [box(lon - 1, lat - 1, lon + 5e-4, lat + 1), box(lon + 5e-4, lat - 1, lon + 1, lat + 1)]
    write_features(tmp_path / "areas.geojson", areas, {"name": ["West", "East"]}, "EPSG:4326")
    words = [f"run={run_folder}", "source=week", "streets=streets.gpkg", "districts=areas.geojson"]
    out, _ = survey(*words, "street_id=id", "strata=use")
    folder = Path("outputs/survey/week")
    assert out[:2] == ["4 of 6 photos have a place, 3 a segment", "1 of 2 streets have photos"]
    photos, segments = table(folder / "photos.csv", "file"), table(folder / "segments.csv", "segment")
    assert [photos[f"{number}.jpg"]["segment"] for number in range(3)] == ["a", "a", "a"], "headings are to the east"
    assert float(photos["0.jpg"]["distance_m"]) == pytest.approx(11.13, abs=0.05)
    assert (photos["0.jpg"]["district"], photos["0.jpg"]["stratum"]) == ("East", "shops")
    assert (photos["far.jpg"]["segment"], photos["far.jpg"]["district"]) == ("", "West")
    assert (segments["a"]["name"], segments["a"]["photos"], segments["a"]["district"]) == ("Damrak", "3", "East")
    assert (segments["b"]["name"], segments["b"]["photos"], segments["b"]["district"]) == ("<b>", "0", "West")
    inputs = json.loads((folder / "survey.json").read_text())["inputs"]
    assert set(inputs) == {"streets", "districts", "run", "photos"}
    contents = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path("week").iterdir())}
    lines = "".join(f"{name}\0{sha256}\n" for name, sha256 in contents.items())
    assert inputs["photos"] == hashlib.sha256(lines.encode()).hexdigest()


def test_a_survey_that_knew_its_photos_by_name_and_size_goes_on_as_the_same(survey, run_folder, tmp_path):
    photo_at(tmp_path / "week/a.jpg", *AMSTERDAM)
    survey(f"run={run_folder}", "source=week", "output=out")
    path = Path("out/survey_request.json")
    request = json.loads(path.read_text())
    del request["request"]["inputs"]["photos"]
    lines = f"a.jpg\0{Path('week/a.jpg').stat().st_size}\n"
    request["request"]["inputs"]["photos (names and sizes)"] = hashlib.sha256(lines.encode()).hexdigest()
    path.write_text(json.dumps({"made": "2026-01-01T00:00:00+00:00", "request": request["request"]}))
    for _ in range(2):
        survey(f"run={run_folder}", "source=week", "output=out")
        assert json.loads(Path("out/survey.json").read_text())["made"] == "2026-01-01T00:00:00+00:00"
    assert "photos" in json.loads(path.read_text())["request"]["inputs"]
    photo_at(tmp_path / "week/a.jpg", *AMSTERDAM, seed=1)
    survey(f"run={run_folder}", "source=week", "output=out")
    assert json.loads(Path("out/survey.json").read_text())["made"] != "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["source=week"], "run: give the run that predicts week, or source=predictions.csv of `predict`"),
        (["source=none.csv"], "source: no file none.csv"),
        (["source=odd.csv"], "source: odd.csv has no column 'prediction'; did you mean 'predicted'?"),
        (["source=few.csv"], "source: few.csv has no columns of probabilities, p_<class>"),
        (["source=twice.csv"], "source: twice.csv, line 3: 'a.jpg' is in line 2 already"),
        (["source=word.csv"], "source: word.csv, line 2: confidence is 'high', not a number"),
        (["source=good.csv", "streets=street.gpkg"], "streets: no file street.gpkg; did you mean 'streets.gpkg'?"),
        (["source=good.csv", "strata=use"], "strata: 'use' is an attribute of streets=, which is not given"),
        (["source=good.csv", "cells=16"], "cells: '16' is not a whole number of 0 to 15"),
        (["source=good.csv", "snap=0"], "snap: '0' is not a number above 0"),
        (["source=good.csv", "output=other"], "output: other holds other things (a.txt); give another with output=DIR"),
    ],
)
def test_what_cannot_be_surveyed_is_one_line(survey, tmp_path, words, line):
    photo_at(tmp_path / "week/a.jpg", *AMSTERDAM)
    (tmp_path / "odd.csv").write_text("file,predicted,confidence\na.jpg,Clean,1\n")
    (tmp_path / "few.csv").write_text("file,prediction,confidence\na.jpg,Clean,1\n")
    header = "file,prediction,confidence,p_Clean,p_Medium,p_Litter\n"
    (tmp_path / "twice.csv").write_text(f"{header}a.jpg,Clean,1,1,0,0\na.jpg,Clean,1,1,0,0\n")
    (tmp_path / "word.csv").write_text(f"{header}a.jpg,Clean,high,1,0,0\n")
    (tmp_path / "good.csv").write_text(f"{header}a.jpg,Clean,1,1,0,0\n")
    (tmp_path / "streets.gpkg").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").touch()
    _, err = survey(*words, code=2)
    assert len(err) == 1
    assert err[0].startswith(f"streetlab: {line}")
    assert not (tmp_path / "outputs").exists()


def test_a_run_with_masks_is_refused_before_it_predicts(survey, seen, tmp_path):
    write_run(tmp_path / "segmenter", SEGMENTER)
    photo_at(tmp_path / "week/a.jpg", *AMSTERDAM)
    _, (line,) = survey("run=segmenter", "source=week", code=2)
    assert line == ("streetlab: run: segmenter gives each pixel a class; a survey needs a run with one label per photo")
    assert seen == []


@pytest.mark.slow
def test_a_photo_that_does_not_decode_is_named_and_kept(survey, run_folder, tmp_path):
    photo_at(tmp_path / "week/a.jpg", *AMSTERDAM)
    (tmp_path / "week/b.jpg").write_text("text")
    out, err = survey(f"run={run_folder}", "source=week", "output=out", code=1)
    assert out[0] == "1 of 2 photos have a place, 1 a segment"
    assert "streetlab: photos that could not be predicted: 1 of 2" in err
    row = table(Path("out/photos.csv"), "file")["b.jpg"]
    assert (row["error"], row["prediction"], row["place"]) == ("not an image (it begins with b'text')", "", "none")


@pytest.mark.slow
def test_a_survey_that_is_killed_goes_on_and_ends_with_the_same_bytes(survey, run_folder, tmp_path, monkeypatch):
    week(tmp_path / "week")
    write_features(tmp_path / "streets.gpkg", [LineString([(4.88, 52.37), (4.9, 52.37)])], crs="EPSG:4326")
    words = [f"run={run_folder}", "source=week", "streets=streets.gpkg", "batch_size=1"]
    killed = [*words, "output=killed/week"]
    journal = Path("killed/week/predictions/predictions.jsonl")
    done = kill_half_way(["survey", "device=cpu", *killed], "far", journal)
    assert 2 <= done < 6
    monkeypatch.setattr("streetlab.survey.request.now", lambda: "2026-11-28T12:00:00+00:00")
    survey(*killed)
    survey(*words, "output=whole/week")
    assert results(Path("killed/week")) == results(Path("whole/week"))
    assert {"photos.csv", "segments.csv", "survey.gpkg", "photos.geojson", "survey.json"} <= results(
        Path("whole/week")
    ).keys()


@pytest.mark.slow
def test_photos_without_any_place_are_a_survey_without_segments(survey, run_folder, tmp_path):
    photo_at(tmp_path / "week/a.jpg", None, None)
    out, _ = survey(f"run={run_folder}", "source=week", "output=out")
    assert out[:2] == ["0 of 1 photos have a place, 0 a segment", "0 of 0 cells have photos"]
    assert table(Path("out/photos.csv"), "file")["a.jpg"]["place"] == "none"


def test_one_photo_and_a_district_without_any_have_rows_and_no_false_interval(survey, tmp_path):
    (tmp_path / "one.csv").write_text(
        "file,prediction,confidence,p_Clean,p_Medium,p_Litter,lat,lon\na.jpg,Clean,0.8,0.8,0.1,0.1,52.0001,4.005\n"
    )
    lines = [LineString([(4, 52), (4.01, 52)]), LineString([(5, 52), (5.01, 52)])]
    write_features(tmp_path / "streets.gpkg", lines, {"id": ["a", "b"]}, "EPSG:28992")
    write_features(
        tmp_path / "areas.gpkg", [box(3, 51, 4.5, 53), box(4.5, 51, 6, 53)], {"name": ["A", "B"]}, "EPSG:28992"
    )
    survey("source=one.csv", "streets=streets.gpkg", "street_id=id", "districts=areas.gpkg", "output=out")
    segments = table(Path("out/segments.csv"), "segment")
    assert (segments["a"]["photos"], segments["b"]["photos"], segments["b"]["severity"]) == ("1", "0", "")
    assert float(segments["a"]["severity"]) == pytest.approx(15)
    rows = json.loads(Path("out/survey.json").read_text())["estimates"]
    whole = [row for row in rows if row["level"] == "all" and row["measure"] == "severity"]
    assert [(row["value"], row["low"], row["high"], row["n_photos"]) for row in whole] == [
        (pytest.approx(15), None, None, 1)
    ]
    areas = gpd.read_file("out/survey.gpkg", layer="districts").set_index("district")
    assert list(areas["photos"]) == [1, 0]
    assert list(areas["segments_total"]) == [1, 1]


@pytest.mark.slow
def test_a_missing_package_is_one_line_that_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules |= {'pandas': None, 'geopandas': None}; from streetlab import cli; "
        "sys.exit(cli.run(['survey', 'source=a.csv']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == "streetlab: survey: pandas, geopandas not installed: pip install 'streetlab[survey]'\n"

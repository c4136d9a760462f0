"""A drive as a video and as photos: frames are photos with times, placed by the track as gpxpy has it."""

from __future__ import annotations

import csv
import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path

import av
import gpxpy
import pytest
from pyproj import Geod
from tests.support.crafted_runs import CLASSIFIER, write_run
from tests.support.placed_photos import photo_at
from tests.support.videos import make_video

from streetlab import cli
from streetlab.synthetic import draw_scene

GEOD = Geod(ellps="WGS84")
SECONDS = 90


class Drive:
    """A recorded drive: its track, and where gpxpy's points have it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points = gpxpy.parse(path.read_text()).tracks[0].segments[0].points
        self.start: datetime = self.points[0].time

    def at(self, moment: datetime) -> tuple[float, float]:
        first, second = next(pair for pair in itertools.pairwise(self.points) if pair[0].time <= moment <= pair[1].time)
        share = (moment - first.time) / (second.time - first.time)
        return (
            first.longitude + share * (second.longitude - first.longitude),
            first.latitude + share * (second.latitude - first.latitude),
        )


@pytest.fixture
def drive(shared_data) -> Drive:
    return Drive(shared_data("geo") / "tracks" / "sf_30km_h.gpx")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with a run in it."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "classifier", CLASSIFIER)
    return tmp_path


def write_drive(path: Path, start: datetime | None, seconds: int = SECONDS) -> Path:
    """A video of drawn streets, one new scene each second; with the time of creation in its file, or without."""
    make_video(path.with_name("plain.mp4"), pictures=[draw_scene(n, 48, 64).image for n in range(seconds)], fps=1)
    with av.open(path.with_name("plain.mp4")) as source, av.open(path, "w") as target:
        if start is not None:
            target.metadata["creation_time"] = start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.with_name("plain.mp4").unlink()
    return path


def survey(*words: str, code: int = 0) -> None:
    assert cli.run(["survey", "device=cpu", "run=classifier", "output=out", *words]) == code


def rows(name: str = "photos") -> list[dict[str, str]]:
    with Path(f"out/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def metres_off(drive: Drive, row: dict[str, str]) -> float:
    lon, lat = drive.at(datetime.fromisoformat(row["time"]))
    return GEOD.inv(lon, lat, float(row["lon"]), float(row["lat"]))[2]


@pytest.mark.slow
def test_frames_and_photos_of_one_drive_lie_on_its_track(drive, folder, capfd):
    (folder / "drive").mkdir()
    write_drive(folder / "drive" / "drive.mp4", drive.start)
    for second in range(0, SECONDS, 10):
        moment = (drive.start + timedelta(seconds=second)).strftime("%Y:%m:%d %H:%M:%S+00:00")
        photo_at(folder / "drive" / f"{second:03d}.jpg", None, None, moment, seed=second)
    words = (f"track={drive.path}", "max_gap=60", "every=10s", "stretch=100")
    survey("source=drive", *words)
    printed = capfd.readouterr().out.splitlines()
    assert printed[0] == "18 of 18 photos have a place, 18 a segment"
    table = {row["file"]: row for row in rows()}
    assert sorted(table)[:2] == ["000.jpg", "010.jpg"]
    assert [name for name in table if "#" in name] == sorted(f"drive.mp4#{n}.000" for n in range(0, SECONDS, 10))
    assert all(row["place"] == "track" and metres_off(drive, row) < 1 for row in table.values())
    for second in range(0, SECONDS, 10):
        frame, photo = table[f"drive.mp4#{second}.000"], table[f"{second:03d}.jpg"]
        keys = ("lat", "lon", "time", "heading", "segment")
        assert [frame[key] for key in keys] == [photo[key] for key in keys]
    segments = rows("segments")
    assert sum(int(row["photos"]) for row in segments) == 18
    before = {path.name: path.read_bytes() for path in Path("out").glob("*") if path.is_file()}
    journal = Path("out/predictions/predictions.jsonl").read_bytes()
    next(Path(".out-frames").glob("*/*.jpg")).unlink()  # what a kill may have left undone is done, the rest is not
    survey("source=drive", *words)
    assert {path.name: path.read_bytes() for path in Path("out").glob("*") if path.is_file()} == before
    assert Path("out/predictions/predictions.jsonl").read_bytes() == journal


@pytest.mark.slow
def test_frames_are_so_many_metres_apart_from_a_start_that_is_given(drive, folder):
    write_drive(folder / "drive.mp4", None)
    local = (drive.start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    words = (f"track={drive.path}", "max_gap=60", "every=50m", f"start={local}", "time_zone=Europe/Amsterdam")
    survey("source=drive.mp4", *words)
    table = sorted(rows(), key=lambda row: row["time"])
    assert len(table) > 5
    assert all(metres_off(drive, row) < 1 for row in table)
    steps = [
        GEOD.inv(*(float(row[key]) for row in pair for key in ("lon", "lat")))[2] for pair in itertools.pairwise(table)
    ]
    assert max(steps) < 75  # a frame each second, so up to 8.4 m too late; as the crow flies at most
    assert json.loads(Path("out/survey.json").read_text())["notes"] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["every=10m"], "every: frames every 10 m need a track="),
        (["every=0s"], "every: '0s' is not seconds or metres: 2s, 10m"),
        (["start=noon"], "start: 'noon' is not a time in ISO 8601 (2025-03-14T08:00:00Z)"),
        (
            ["start=2025-03-14T08:00:00"],
            "start: the time 2025-03-14T08:00:00 has no zone; give time_zone=Europe/Amster",
        ),
        (["stretch=100"], "stretch: it cuts a track into segments; give track=, and no streets="),
        (
            ["track=a.gpx", "every=10m"],
            "every: frames every 10 m need the time of its first frame; give start=, drive.m",
        ),
    ],
)
def test_a_video_that_cannot_be_sampled_is_one_line(words, line, folder, capfd):
    write_drive(folder / "drive.mp4", None, 3)
    (folder / "a.gpx").write_text(
        '<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg><trkpt lat="52" lon="4">'
        "<time>2025-03-14T08:00:00Z</time></trkpt></trkseg></trk></gpx>"
    )
    survey("source=drive.mp4", *words, code=2)
    (printed,) = capfd.readouterr().err.splitlines()
    assert printed.startswith(f"streetlab: {line}")


@pytest.mark.slow
def test_a_video_without_a_time_is_surveyed_and_its_frames_have_no_place(folder, capfd):
    write_drive(folder / "drive.mp4", None, 3)
    (folder / "broken.mp4").write_bytes((folder / "drive.mp4").read_bytes()[:100])
    survey("source=[drive.mp4,broken.mp4]")
    printed = capfd.readouterr()
    assert printed.out.splitlines()[0] == "0 of 3 photos have a place, 0 a segment"
    assert printed.err.splitlines()[0].startswith("streetlab: source: ")
    assert [row["place_note"] for row in rows()] == ["the video has no GPS position"] * 3

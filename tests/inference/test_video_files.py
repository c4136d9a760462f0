"""`streetlab predict` of recordings whose time stamps start over: nothing is lost, and a line says so."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.support.videos import joined, make_video, times

from streetlab import cli


@pytest.mark.slow
def test_a_joined_recording_is_predicted_to_its_end_with_its_sound(segmenter, tmp_path, capfd) -> None:
    parts = [make_video(tmp_path / f"{n}.ts", frames=12, size=(64, 96), fps=12, audio="aac") for n in range(2)]
    path = joined(tmp_path / "joined.ts", *parts)
    words = [f"run={segmenter.path}", f"source={path}", "output=out", "ids=true", "device=cpu"]
    assert cli.run(["predict", *words]) == 0
    err = capfd.readouterr().err
    assert "streetlab: joined.ts: its time stamps start over at 1.0 s; the parts were put behind each other\n" in err
    expected = pytest.approx([number / 12 for number in range(24)], abs=1e-3)
    assert times(Path("out/overlay/joined.mp4"), "video") == expected
    assert times(Path("out/ids/joined.webm"), "video") == expected
    assert times(Path("out/overlay/joined.mp4"), "audio")[-1] == pytest.approx(2, abs=0.07)
    with Path("out/shares/joined.csv").open() as file:
        assert [float(row["time"]) for row in csv.DictReader(file)] == expected

"""Recordings whose time stamps start over keep all their time, and their sound stays beside their frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.videos import audio_payload, drawn_frame, joined, times

from streetlab.inference.video.reader import VideoReader, probe
from streetlab.inference.video.writer import VideoWriter

MakeVideo = Callable[..., Path]
FRAME, PACKET = 1 / 12, 1024 / 48_000
CLOCK = 2**33 / 90_000
"""Seconds after which the clock of a transport stream begins again."""


@pytest.fixture
def part(make_video: MakeVideo) -> Callable[..., Path]:
    """`part("a.ts")`: two seconds of a recorder, 24 frames with sound."""
    return lambda name, **options: make_video(name, **{"frames": 24, "fps": 12, "audio": "aac"} | options)


def copied(source: Path) -> tuple[Path, VideoReader]:
    """The source's frames and sound written anew, and the reader at its end."""
    target = source.with_name("copy.mp4")
    with VideoReader(source) as reader:
        info = reader.info
        with VideoWriter(target, (info.height, info.width), info.fps, info.time_base, source) as writer:
            for frame in reader:
                writer.write(frame.pixels, frame.pts, frame.duration)
    return target, reader


def check_frames(copy: Path, count: int) -> None:
    np.testing.assert_allclose(times(copy, "video"), np.arange(count) * FRAME, atol=1e-4)


def test_parts_behind_each_other_keep_all_their_time_frames_and_sound(part, tmp_path: Path) -> None:
    first, second = part("a.ts"), part("b.ts", pictures=[drawn_frame(12 + n, (48, 64)) for n in range(24)])
    once, _ = copied(first)
    alone, expected = times(once, "audio"), audio_payload(once)
    copy, reader = copied(joined(tmp_path / "joined.ts", first, second))
    assert reader.restarts == pytest.approx((2.0,), abs=1e-4)
    assert reader.broken is None
    check_frames(copy, 48)
    sound = times(copy, "audio")
    assert sound[: len(alone)] == pytest.approx(alone, abs=1e-4)
    again = [time for time in sound if time > alone[-1] + 1e-4]
    assert again[-1] == pytest.approx(2 + alone[-1], abs=1e-4)
    assert np.abs(np.diff(sound) - PACKET).max() < PACKET  # no gap, nothing twice
    assert len(sound) >= 2 * len(alone) - 2
    assert audio_payload(copy)[-len(again) :] == expected[-len(again) :]
    with VideoReader(copy) as shown:
        frames = [frame.pixels for frame in shown]
    assert np.abs(frames[30].astype(int) - drawn_frame(18, (48, 64))).mean() < 6


@pytest.mark.parametrize("audio", ["aac", "mp2"])
def test_a_part_without_sound_is_silent_and_the_next_one_is_in_time(part, tmp_path: Path, audio: str) -> None:
    loud, silent = part("a.ts", audio=audio), part("b.ts", audio=None)
    copy, reader = copied(joined(tmp_path / "joined.ts", loud, silent, loud))
    assert reader.restarts == pytest.approx((2.0, 4.0), abs=1e-4)
    check_frames(copy, 72)
    sound = np.array(times(copy, "audio"))
    assert not ((sound > 2.1) & (sound < 3.9)).any()
    last = times(copied(loud)[0], "audio")[-1]
    assert sound[sound < 3][-1] == pytest.approx(last, abs=2 * PACKET)
    assert sound[-1] == pytest.approx(4 + last, abs=2 * PACKET)


def test_sound_that_begins_with_the_second_part_is_not_lost(part, tmp_path: Path) -> None:
    copy, _ = copied(joined(tmp_path / "joined.ts", part("a.ts", audio=None), part("b.ts")))
    check_frames(copy, 48)
    sound = times(copy, "audio")
    assert sound[0] == pytest.approx(2, abs=2 * PACKET)
    assert sound[-1] == pytest.approx(4, abs=3 * PACKET)


@pytest.mark.parametrize(("first", "second"), [(100.0, 0.0), (0.0, 100.0), (70.0, 65.0)])
def test_a_clock_that_was_set_back_or_ahead_leaves_no_gap(part, tmp_path: Path, first: float, second: float) -> None:
    path = joined(tmp_path / "joined.ts", part("a.ts", start=first), part("b.ts", start=second))
    copy, reader = copied(path)
    assert reader.restarts == pytest.approx((2.0,), abs=1e-4)
    assert reader.broken is None
    assert (probe(path).frames or 0) < 12 * 1000  # of 100 s, not of the 26 hours that FFmpeg announces
    check_frames(copy, 48)
    assert times(copy, "audio")[-1] == pytest.approx(4, abs=3 * PACKET)


def test_a_clock_that_runs_over_is_no_new_part(part) -> None:
    copy, reader = copied(part("a.ts", start=CLOCK - 2.4))  # FFmpeg's writer adds 1.4 s
    assert reader.restarts == ()
    check_frames(copy, 24)
    assert times(copy, "audio")[-1] == pytest.approx(2, abs=3 * PACKET)


def test_a_pause_in_the_sound_alone_is_a_pause_and_no_new_part(part, tmp_path: Path) -> None:
    late = 2 * FRAME  # that frames are shown after they are decoded, which FFmpeg adds to a start of 0 alone
    silent = part("b.ts", frames=13 * 12, audio=None, start=2 + late)
    copy, reader = copied(joined(tmp_path / "joined.ts", part("a.ts"), silent, part("c.ts", start=15 + late)))
    assert reader.restarts == ()
    check_frames(copy, 17 * 12)
    sound = np.array(times(copy, "audio"))
    assert np.diff(sound).max() == pytest.approx(13, abs=0.1)
    assert sound[-1] == pytest.approx(17, abs=3 * PACKET)

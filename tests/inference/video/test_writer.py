from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.support.videos import audio_payload, drawn_frame

from streetlab.errors import UserError
from streetlab.inference.video.clock import Clock
from streetlab.inference.video.reader import Frame, VideoReader, probe
from streetlab.inference.video.writer import VideoWriter

MakeVideo = Callable[..., Path]
NTSC = Fraction(30_000, 1001)


def copied(source: Path, most_frames: int | None = None) -> Path:
    """The source's frames and sound, written anew."""
    with VideoReader(source, most_frames) as reader:
        info = reader.info
        target = source.with_name("copy.mp4")
        with VideoWriter(target, (info.height, info.width), info.fps, info.time_base, source) as writer:
            for frame in reader:
                writer.write(frame.pixels, frame.pts, frame.duration)
    return target


def frames_of(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader)


@pytest.mark.parametrize(("ending", "sound"), [("mp4", "aac"), ("mkv", "libopus"), ("webm", "libopus"), ("mkv", "aac")])
def test_rate_frames_and_sound_are_those_of_the_source(make_video: MakeVideo, ending: str, sound: str) -> None:
    source = make_video(f"a.{ending}", frames=60, fps=NTSC, audio=sound, audio_seconds=2.5)
    copy = copied(source)
    before, after = frames_of(source), frames_of(copy)
    assert probe(copy).fps == NTSC
    assert len(after) == len(before) == 60
    assert all(abs(one.time - number / NTSC) < 1e-9 for number, one in enumerate(after))
    assert audio_payload(copy) == audio_payload(source)


def test_sound_that_browsers_do_not_play_is_encoded_anew(make_video: MakeVideo) -> None:
    copy = copied(make_video("a.avi", frames=30, fps=30, audio="pcm_s16le"))
    with av.open(str(copy)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples / 48_000 - 1) < 0.1


def test_sound_ends_with_a_video_that_ends_early(make_video: MakeVideo) -> None:
    source = make_video("a.mp4", frames=100, audio="aac")
    kept = len(audio_payload(copied(source, most_frames=25)))
    assert len(audio_payload(source)) / 4 == pytest.approx(kept, abs=3)


def test_frames_of_a_variable_rate_keep_their_times_and_mean_rate(make_video: MakeVideo) -> None:
    source = make_video("a.mp4", pts=[0, 3, 4, 9, 20], time_base=Fraction(1, 100))
    copy = copied(source)
    assert [frame.time for frame in frames_of(copy)] == [frame.time for frame in frames_of(source)]
    assert probe(copy).fps == probe(source).fps


def test_times_that_the_source_rounded_come_back_on_the_grid_of_the_rate() -> None:
    clock = Clock(NTSC, Fraction(1, 1000))
    assert [clock.pts(time) * clock.time_base for time in (0, 33, 67, 100)] == [number / NTSC for number in range(4)]
    assert clock.pts(50) * clock.time_base == Fraction(50, 1000)


def test_a_file_plays_from_its_start_and_shows_the_colours_that_were_written(tmp_path: Path) -> None:
    colours = np.array([[(200, 30, 40), (20, 180, 60)], [(30, 60, 220), (128, 128, 128)]], np.uint8)
    picture = colours.repeat(24, 0).repeat(32, 1)
    with VideoWriter(tmp_path / "a.mp4", (48, 64), Fraction(25), Fraction(1, 25)) as writer:
        for number in range(3):
            writer.write(picture, number)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    shown = frames_of(tmp_path / "a.mp4")[2].pixels
    assert np.abs(shown[12::24, 16::32].astype(int) - colours).max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert [packet.pts for packet in container.demux(stream) if packet.size] == [0, 512, 1024]


def test_an_odd_side_is_padded_by_one_pixel(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (33, 47), Fraction(25), Fraction(1, 25)) as writer:
        writer.write(drawn_frame(0, (33, 47)), 0)
    assert frames_of(tmp_path / "a.mp4")[0].pixels.shape == (34, 48, 3)


def test_a_video_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    def half_written() -> None:
        with VideoWriter(tmp_path / "a.mp4", (48, 64), Fraction(25), Fraction(1, 25)) as writer:
            writer.write(drawn_frame(0, (48, 64)), 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half_written()
    with pytest.raises(ValueError, match="needs a frame"):
        VideoWriter(tmp_path / "a.mp4", (48, 64), Fraction(25), Fraction(1, 25)).close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4: [^\n]+$"):
        VideoWriter(tmp_path / "file" / "a.mp4", (48, 64), Fraction(25), Fraction(1, 25))

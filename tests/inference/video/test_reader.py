from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.support.videos import drawn_frame

from streetlab.errors import UserError
from streetlab.inference.video.reader import UnreadableVideo, VideoReader, probe

MakeVideo = Callable[..., Path]
NTSC = Fraction(30_000, 1001)


def frames_of(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return [frame.pixels for frame in reader]


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two pictures, which is large where one is turned or another frame."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "avi", "ts"])
def test_rate_and_frames_of_every_container_are_exact(make_video: MakeVideo, ending: str) -> None:
    path = make_video(f"a.{ending}", frames=30, fps=NTSC)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert reader.info.fps == NTSC
    assert (reader.info.height, reader.info.width) == (48, 64)
    assert reader.broken is None
    assert len(frames) == 30
    assert all(abs(frame.time - number / NTSC) <= 0.0006 for number, frame in enumerate(frames))
    likeness = [far(frames[11].pixels, drawn_frame(number, (48, 64))) for number in range(24)]
    assert int(np.argmin(likeness)) == 11


def test_animated_gif_is_read_at_its_own_odd_size(make_video: MakeVideo) -> None:
    path = make_video("a.gif", frames=7, size=(33, 47), fps=10)
    info = probe(path)
    assert (info.height, info.width, info.fps, info.frames) == (33, 47, 10, 7)
    assert len(frames_of(path)) == 7


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright(make_video: MakeVideo, rotation: int) -> None:
    path = make_video("a.mp4", frames=2, rotation=rotation)
    expected = np.rot90(drawn_frame(0, (48, 64)), rotation // 90)
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert far(frames_of(path)[0], expected) < 4


def test_mirrored_frames_are_not_taken_for_turned_ones(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", frames=2, mirrored=True)
    assert far(frames_of(path)[0], drawn_frame(0, (48, 64))[:, ::-1]) < 4


def test_pixels_that_are_not_square_are_squared(make_video: MakeVideo) -> None:
    assert probe(make_video("a.mp4", pixel_aspect=Fraction(3, 2))).width == 96
    assert probe(make_video("b.mp4", pixel_aspect=Fraction(1, 2))).height == 96


def test_frames_of_a_variable_rate_keep_their_times(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", pts=[5, 8, 9, 14, 25], time_base=Fraction(1, 100))
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader]
    assert times == pytest.approx([0, 0.03, 0.04, 0.09, 0.2])


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi"])
def test_half_a_file_gives_its_good_frames_and_says_that_the_end_is_missing(make_video: MakeVideo, ending: str) -> None:
    whole = make_video(f"whole.{ending}", frames=90, audio="libopus" if ending == "webm" else "aac")
    half = whole.with_name(f"half.{ending}")
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    good = frames_of(whole)
    with VideoReader(half) as reader:
        kept = [frame.pixels for frame in reader]
    assert 20 < len(kept) < 80
    assert reader.broken is not None
    assert reader.broken.startswith(f"ended after {len(kept)} frames: ")
    assert all(np.array_equal(one, other) for one, other in zip(kept[:20], good, strict=False))


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        ("gif", "its trailer is missing"),
        ("ts", "its last packet is cut off"),
        ("m2ts", "its last packet is cut off"),
    ],
)
def test_half_a_file_that_announces_no_length_says_that_the_end_is_missing(
    make_video: MakeVideo, ending, cause
) -> None:
    whole = make_video(f"whole.{ending}", frames=60)
    half = whole.with_name(f"half.{ending}")
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2 // 192 * 192 + 50])
    with VideoReader(half) as reader:
        kept = len(list(reader))
    assert 10 < kept < 60
    assert reader.broken == f"ended after {kept} frames: {cause}"
    for pad in (b"", b"\0" * (100 if ending == "gif" else 0)):  # some programs fill a GIF up
        whole.write_bytes(whole.read_bytes() + pad)
        with VideoReader(whole) as reader:
            assert len(list(reader)) == 60
        assert reader.broken is None


def test_damage_in_the_middle_ends_the_video_there(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", frames=40)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        first = packet.pts * packet.time_base
    damaged = bytearray(path.read_bytes())
    damaged[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(damaged)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert 10 < len(frames) < 24
    assert [frame.time for frame in frames] == pytest.approx([number / 25 for number in range(len(frames))])
    assert frames[-1].time < first
    assert reader.broken == f"ended after {len(frames)} frames: Invalid data found when processing input"


def test_a_last_frame_that_is_long_on_show_is_no_missing_end(make_video: MakeVideo) -> None:
    path = make_video("a.gif", frames=4, fps=Fraction(1, 3))
    with VideoReader(path) as reader:
        list(reader)
    assert reader.broken is None


def test_one_frame_is_a_video(make_video: MakeVideo) -> None:
    assert len(frames_of(make_video("a.mp4", frames=1))) == 1
    assert len(frames_of(make_video("a.gif", frames=1))) == 1


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("no video\n" * 100)


def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n")


def _list_of_files(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile good.mp4\n")


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("fault", [_empty, _text, _playlist, _list_of_files, _missing])
def test_what_is_no_video_is_one_line(make_video: MakeVideo, tmp_path: Path, fault: Callable[[Path], None]) -> None:
    make_video("good.mp4")
    fault(tmp_path / "bad.mp4")
    with pytest.raises(UnreadableVideo, match=r"bad\.mp4 is not a video that can be read: [^\n]+$"):
        probe(tmp_path / "bad.mp4")


def test_recording_that_was_cut_off_before_its_index_says_so(make_video: MakeVideo, tmp_path: Path) -> None:
    whole = make_video("whole.mp4", frames=40).read_bytes()
    index = whole.index(b"moov") - 4
    without = whole[:index] + whole[index + int.from_bytes(whole[index : index + 4], "big") :]
    (tmp_path / "cut.mp4").write_bytes(without)
    with pytest.raises(UnreadableVideo, match="without its index") as caught:
        probe(tmp_path / "cut.mp4")
    assert "\n" not in str(caught.value)


def test_sound_alone_and_streams_without_a_frame_are_no_video(make_video: MakeVideo, tmp_path: Path) -> None:
    source = make_video("a.mkv", frames=5, audio="aac")
    with av.open(str(source)) as inside, av.open(str(tmp_path / "sound.mp4"), "w") as out:
        track = out.add_stream_from_template(inside.streams.audio[0])
        for packet in inside.demux(inside.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    with pytest.raises(UnreadableVideo, match="no video stream"):
        probe(tmp_path / "sound.mp4")
    head = make_video("b.webm", frames=5).read_bytes()
    (tmp_path / "none.webm").write_bytes(head[: head.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(UnreadableVideo, match=r"none\.webm"):
        probe(tmp_path / "none.webm")


def test_reading_stops_at_the_most_frames(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", frames=12)
    with VideoReader(path, most_frames=5) as reader:
        assert len(list(reader)) == 5
    assert reader.broken == "ended after 5 frames: no more are read"
    with VideoReader(path, most_frames=12) as reader:
        assert len(list(reader)) == 12
    assert reader.broken is None


def test_frames_of_too_many_pixels_are_refused(make_video: MakeVideo) -> None:
    path = make_video("a.mp4")
    assert probe(path, most_pixels=48 * 64).width == 64
    with pytest.raises(UnreadableVideo, match=r"frames of 64x48 pixels; at most 3,071 pixels"):
        probe(path, most_pixels=48 * 64 - 1)


def test_a_name_that_looks_like_an_address_is_a_file(make_video: MakeVideo) -> None:
    assert len(frames_of(make_video("concat:a%03d|b.mp4", frames=3))) == 3


def test_without_pyav_a_line_names_the_extra(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video("a.mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'streetlab\[video\]'"):
        probe(path)

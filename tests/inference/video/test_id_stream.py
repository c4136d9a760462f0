from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.support.videos import make_video

from streetlab.errors import UserError
from streetlab.inference.video.id_stream import IdStreamReader, IdStreamWriter, Layout
from streetlab.inference.video.source import UnreadableVideo


@pytest.mark.parametrize(("classes", "step"), [(2, 11), (19, 11), (20, 11), (60, 3), (200, 1), (220, 1)])
def test_every_id_of_a_hundred_frames_comes_back(tmp_path: Path, classes: int, step: int) -> None:
    random = np.random.default_rng(classes)
    ids = random.integers(0, classes, (100, 33, 47), dtype=np.uint8)
    with IdStreamWriter(tmp_path / "a.webm", (33, 47), classes, Fraction(25), Fraction(1, 25), False) as writer:
        for number, one in enumerate(ids):
            writer.write(one, None, number)
    with IdStreamReader(tmp_path / "a.webm") as reader:
        read = list(reader)
    assert reader.layout.step == step
    assert np.array_equal([one for one, _, _ in read], ids)
    assert [time for _, _, time in read] == [40 * number for number in range(100)]


def test_confidences_come_back_in_twenty_levels_at_half_the_size(tmp_path: Path) -> None:
    ids = np.zeros((5, 7), np.uint8)
    confidence = np.full((5, 7), 128, np.uint8)
    confidence[:2, :2] = [[0, 255], [255, 255]]
    confidence[4, 6] = 255
    with IdStreamWriter(tmp_path / "a.webm", (5, 7), 19, Fraction(25), Fraction(1, 25)) as writer:
        writer.write(ids, confidence, 0)
    with IdStreamReader(tmp_path / "a.webm") as reader:
        [(_, read, _)] = list(reader)
    assert read is not None
    assert read.shape == (5, 7)
    assert np.all(read[:2, :2] == 191)  # 15 of 20 levels: 191.25
    assert read[4, 6] == 255
    assert np.all(np.delete(read[2:4].reshape(-1), []) == 128)


def test_layout_says_where_a_page_finds_the_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = random.integers(0, 19, (33, 47), dtype=np.uint8)
    with IdStreamWriter(tmp_path / "a.webm", (33, 47), 19, Fraction(25), Fraction(1, 25)) as writer:
        writer.write(ids, np.full((33, 47), 255, np.uint8), 0)
    layout = writer.layout.to_dict()
    assert layout == {"width": 48, "height": 52, "step": 11, "ids": [0, 0, 47, 33], "confidence": [0, 34, 24, 17]}
    assert Layout.from_dict(layout) == writer.layout
    with av.open(str(tmp_path / "a.webm")) as container:
        [frame] = list(container.decode(video=0))
    luma, *chroma = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width] for plane in frame.planes
    )
    assert luma.shape == (52, 48)
    assert np.array_equal(luma[:33, :47], 16 + 11 * ids)
    assert np.all(luma[34:51, :24] == 216)
    assert all(np.all(plane == 128) for plane in chroma)


@pytest.mark.parametrize("steps", [40, 700])
def test_a_key_frame_comes_at_least_every_second(tmp_path: Path, steps: int) -> None:
    with IdStreamWriter(tmp_path / "a.webm", (16, 16), 3, Fraction(25), Fraction(1, 1000)) as writer:
        for number in range(60):
            writer.write(np.full((16, 16), number % 3, np.uint8), np.zeros((16, 16), np.uint8), steps * number)
    with av.open(str(tmp_path / "a.webm")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [packet.pts for packet in packets if packet.is_keyframe]
    assert len(packets) == 60
    assert max(np.diff([*keys, packets[-1].pts])) <= max(1000, 2 * steps)
    assert len(keys) <= 60 * steps / 1000 + 1


def test_more_classes_than_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="221 classes; 1 to 220"):
        IdStreamWriter(tmp_path / "a.webm", (16, 16), 221, Fraction(25), Fraction(1, 25))


def test_what_does_not_fit_the_stream_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for ids, confidence in (
        (np.zeros((16, 17), np.uint8), np.zeros((16, 17), np.uint8)),
        (np.full((16, 16), 3, np.uint8), np.zeros((16, 16), np.uint8)),
        (np.zeros((16, 16), np.uint8), None),
    ):
        writer = IdStreamWriter(tmp_path / "a.webm", (16, 16), 3, Fraction(25), Fraction(1, 25))
        with pytest.raises(ValueError, match="stream"):
            writer.write(ids, confidence, 0)
        writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_another_video_is_no_id_stream(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.webm", frames=2)
    with pytest.raises(UnreadableVideo, match="is not an id stream"):
        IdStreamReader(path)

"""Results hold what the network said, and the list of them survives a kill, a change of files and other settings."""

from __future__ import annotations

import csv
import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.locked_folder import locked

from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.inference.journal import LINES, MADE_WITH, Journal
from streetlab.inference.outputs import PhotoResults, write_tables
from streetlab.inference.predictions import Classified, Segmented
from streetlab.inference.sources import Item
from streetlab.plots.heat import heat_overlay
from streetlab.plots.paint import PaintStyle, paint

RANDOM = np.random.default_rng(3)
MADE = {"model": "streets", "checkpoint": "ab" * 32, "settings": {"alpha": 0.5, "hide": ["sky"], "window": None}}


@pytest.fixture
def photo() -> Image.Image:
    """48 x 64, smooth, so that a JPEG of it is nearly itself."""
    y, x = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([x * 3, y * 4, 200 - x], axis=-1).astype(np.uint8))


def blocks(values: np.ndarray) -> np.ndarray:
    """A (3, 4) array at the photo's size."""
    return values.repeat(16, axis=0).repeat(16, axis=1)


def difference(path: Path, pixels: np.ndarray) -> float:
    return float(np.abs(np.asarray(Image.open(path)).astype(int) - pixels).mean())


def item(name: str = "a.jpg", modified: int = 5) -> Item:
    return Item(Path("/photos", name), name, "photo", 100, modified)


def noted(journal: Journal, name: str = "a.jpg", **result: object) -> Path:
    """Record a file with one result that is there."""
    path = journal.output / "masks" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mask")
    journal.record(item(name), name, [f"masks/{name}.png"], {"shares": {"sky": 1.0}} | result)
    return path


def test_a_mask_is_written_with_its_ids_its_colours_and_an_overlay_of_the_photo(tmp_path, photo):
    ids = blocks(RANDOM.permutation(12).astype(np.uint8).clip(max=10).reshape(3, 4))
    answer = Segmented(ids, RANDOM.integers(0, 256, ids.shape, dtype=np.uint8))
    look = PaintStyle(CAMVID.palette, 1.0, frozenset(range(1, 11)))
    parts = ("mask", "palette", "overlay", "confidence")
    written = PhotoResults(tmp_path, CAMVID, parts, look, False).write("sub/a", photo, answer)
    assert written.outputs == ("masks/sub/a.png", "palette/sub/a.png", "overlay/sub/a.jpg", "confidence/sub/a.png")
    mask, palette, confidence = (
        np.asarray(Image.open(tmp_path / f"{part}/sub/a.png")) for part in ("masks", "palette", "confidence")
    )
    assert np.array_equal(mask, ids)
    assert np.array_equal(palette, ids)
    assert np.array_equal(confidence, answer.confidence)
    assert difference(tmp_path / "overlay/sub/a.jpg", paint(np.asarray(photo), ids, look)) < 3
    assert difference(tmp_path / "overlay/sub/a.jpg", np.asarray(photo)) > 3
    assert (written.result["width"], written.result["height"]) == (64, 48)
    assert written.result["shares"]["road"] == pytest.approx((ids == 3).mean())
    assert PhotoResults(tmp_path / "none", CAMVID, (), look, False).write("a", photo, answer).outputs == ()
    assert not (tmp_path / "none").exists()


def test_a_label_is_written_with_its_probabilities_and_the_map_of_the_predicted_class(tmp_path, photo):
    maps = np.stack([blocks(RANDOM.random((3, 4), dtype=np.float32)) * 7 for _ in range(2)])
    answer = Classified(np.array([0.1, 0.7, 0.2], np.float32), 1, maps, (0, 1))
    written = PhotoResults(tmp_path, CLEANLINESS, (), PaintStyle(CLEANLINESS.palette), True).write("a", photo, answer)
    assert written.result["prediction"] == "Medium"
    assert written.result["confidence"] == pytest.approx(0.7)
    assert written.result["probabilities"] == pytest.approx({"Clean": 0.1, "Medium": 0.7, "Litter": 0.2})
    assert difference(tmp_path / "overlay/a.jpg", heat_overlay(photo, maps[1] / maps.max())) < 3
    assert difference(tmp_path / "overlay/a.jpg", heat_overlay(photo, maps[0] / maps.max())) > 3
    nothing = replace(answer, activations=np.zeros_like(maps))
    PhotoResults(tmp_path, CLEANLINESS, (), PaintStyle(CLEANLINESS.palette), True).write("dark", photo, nothing)
    assert difference(tmp_path / "overlay/dark.jpg", np.asarray(photo)) < 3


def test_a_photo_wider_than_a_jpeg_can_be_has_its_overlay_as_png(tmp_path):
    wide = Image.new("RGB", (70_000, 1))  # a JPEG's side has 16 bits
    ids = np.zeros((1, 70_000), np.uint8)
    style = PaintStyle(CAMVID.palette)
    written = PhotoResults(tmp_path, CAMVID, ("mask", "overlay"), style, False).write("wide", wide, Segmented(ids, ids))
    assert written.outputs == ("masks/wide.png", "overlay/wide.png")
    assert (np.asarray(Image.open(tmp_path / "masks/wide.png")) == ids).all()
    assert (np.asarray(Image.open(tmp_path / "overlay/wide.png")) == paint(np.asarray(wide), ids, style)).all()


def test_tables_have_a_row_for_each_file_with_results_in_the_order_of_the_names(tmp_path):
    shares = dict.fromkeys(CAMVID.names, 0.0) | {"sky": 1.0}
    common = {"width": 4, "height": 3, "shares": shares}
    lines = [
        {"file": "b,c.jpg", "kind": "photo", **common, "seconds": 1},
        {"file": "a.jpg", "kind": "photo", **common},
        {"file": "bad.jpg", "kind": "photo", "error": "truncated"},
        {"file": "v.mp4", "kind": "video", **common, "frames": 26, "fps": "30000/1001", "error": "ended after 26"},
    ]
    assert write_tables(tmp_path, lines, CAMVID) == [tmp_path / "predictions.csv", tmp_path / "videos.csv"]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a.jpg", "b,c.jpg"]
    assert rows[0]["share_sky"] == "1.0"
    assert len(rows[0]) == 3 + 11
    with (tmp_path / "videos.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["frames"], row["fps"], row["error"]) == ("26", "30000/1001", "ended after 26")
    assert write_tables(tmp_path, lines[:3], CAMVID) == [tmp_path / "predictions.csv"]
    assert not (tmp_path / "videos.csv").exists(), "it spoke of a video that is not in the list any more"


def test_what_is_done_stays_done_until_the_file_or_its_results_change(tmp_path):
    with Journal(tmp_path / "out", MADE) as journal:
        noted(journal)
        noted(journal, "b.jpg")
        journal.record(item("bad.jpg"), "bad", [], {"error": "truncated"})
        journal.record(item("gone.jpg"), "gone", ["masks/gone.png"], {})
    with Journal(tmp_path / "out", MADE) as journal:
        assert [journal.is_done(item(name)) for name in ("a.jpg", "b.jpg", "bad.jpg", "gone.jpg", "new.jpg")] == [
            True, True, False, False, False
        ]  # fmt: skip
        assert not journal.is_done(item("a.jpg", modified=6))
        assert not journal.is_done(replace(item("a.jpg"), bytes=99))


def test_results_that_later_ones_do_not_replace_are_deleted(tmp_path):
    with Journal(tmp_path / "out", MADE) as journal:
        old, kept = noted(journal), noted(journal, "b.jpg")
        journal.record(item("a.jpg", 6), "a.jpg", [], {"error": "truncated now"})
        assert not old.exists()
        assert kept.exists()
        journal.compact()
    lines = [json.loads(line) for line in (tmp_path / "out" / LINES).read_text().splitlines()]
    assert [(line["file"], line.get("error")) for line in lines] == [("a.jpg", "truncated now"), ("b.jpg", None)]


@pytest.mark.parametrize("tail", ['{"file": "b.jpg", "pa', '{"file": "b.jpg"', "\x00\x00\x00"])
def test_half_a_line_of_a_killed_process_is_dropped(tmp_path, tail):
    with Journal(tmp_path / "out", MADE) as journal:
        noted(journal, "日本 \udcff.jpg")
    path = tmp_path / "out" / LINES
    whole = path.read_bytes()
    path.write_bytes(whole + tail.encode())
    (tmp_path / "out/masks/.a.png.12-ab.tmp").touch()
    state = json.loads((tmp_path / "out" / MADE_WITH).read_text())
    (tmp_path / "out" / MADE_WITH).write_text(json.dumps(state | {"state": "running", "process": 2**22 + 1}))
    with Journal(tmp_path / "out", MADE) as journal:
        assert journal.is_done(item("日本 \udcff.jpg"))
        assert path.read_bytes() == whole
        assert not (tmp_path / "out/masks/.a.png.12-ab.tmp").exists()
        noted(journal, "c.jpg")
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"checkpoint": "cd" * 32}, "holds predictions of other weights (streets); give another folder"),
        ({"settings": MADE["settings"] | {"alpha": 0.7}}, "holds predictions with alpha=0.5, not alpha=0.7; give"),
        ({"settings": MADE["settings"] | {"hide": []}}, "with hide=[sky], not hide=[]; give"),
        ({"settings": MADE["settings"] | {"window": [8, 9]}}, "with window=null, not window=[8,9]; give"),
    ],
)
def test_other_settings_and_weights_are_refused_unless_all_is_to_start_over(tmp_path, other, said):
    with Journal(tmp_path / "out", MADE) as journal:
        mask = noted(journal)
    (tmp_path / "out" / "mine.txt").write_text("notes")
    with pytest.raises(UserError) as caught:
        Journal(tmp_path / "out", MADE | other)
    assert said in str(caught.value)
    assert "resume=false" in str(caught.value)
    assert mask.exists()
    with Journal(tmp_path / "out", MADE | other, resume=False) as journal:
        assert journal.lines == {}
        assert not mask.exists()
    assert (tmp_path / "out" / "mine.txt").exists()


def test_starting_over_deletes_nothing_outside_its_folder(tmp_path):
    (tmp_path / "mine.png").touch()
    with Journal(tmp_path / "out", MADE) as journal:
        journal.record(item(), "a", ["../mine.png", str(tmp_path / "mine.png")], {})
    with Journal(tmp_path / "out", MADE, resume=False):
        assert (tmp_path / "mine.png").exists()


def test_a_folder_of_other_things_a_file_or_one_in_use_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"holds other things \(a.jpg\)"):
        Journal(tmp_path / "photos", MADE, resume=False)
    with pytest.raises(UserError, match="is a file; give a folder"):
        Journal(tmp_path / "file", MADE)
    with pytest.raises(UserError, match="cannot write"):
        Journal(tmp_path / "file" / "below", MADE)
    with Journal(tmp_path / "out", MADE):
        pass
    state = {"state": "running", "process": os.getppid(), "host": socket.gethostname()}
    (tmp_path / "out" / MADE_WITH).write_text(json.dumps(MADE | state))
    with locked(tmp_path / "out"), pytest.raises(UserError, match=f"is being written by process {os.getppid()}"):
        Journal(tmp_path / "out", MADE)
    with Journal(tmp_path / "out", MADE):
        pass  # another program has the number of one that was killed
    (tmp_path / "out" / MADE_WITH).write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Journal(tmp_path / "out", MADE)

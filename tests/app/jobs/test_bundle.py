"""Downloads: a visitor gets the right files under safe names, painted as the page shows them."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.app_records import StandIns, Visits, columns, settings

from streetlab.app.jobs.bundle import bundle
from streetlab.app.media.zip_stream import Member, zip_stream
from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.plots.paint import PaintStyle, paint

ALL = ("ids", "palette", "confidence", "overlay", "csv")
LOOK = {"alpha": 0.3, "hidden": [2], "colors": {"4": "#010203"}, "outlines": True, "threshold": 0.2}


@pytest.fixture
def visits(tmp_path) -> Visits:
    configured = settings(tmp_path)
    return Visits(StandIns(configured), configured.storage)


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def content_of(content) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else b"".join(content)


def unzipped(content) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content_of(content))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.mark.parametrize(
    ("part", "name", "media_type"),
    [
        ("ids", "street_ids.png", "image/png"),
        ("palette", "street_palette.png", "image/png"),
        ("confidence", "street_confidence.png", "image/png"),
        ("overlay", "street_overlay.png", "image/png"),
        ("csv", "street_shares.csv", "text/csv"),
    ],
)
def test_one_part_of_one_photo_is_that_file(visits, photo, part, name, media_type):
    job = visits.do("photo", "columns", photo)
    found_name, found_type, content = bundle([job], LOOK, [part], visits.catalog)
    assert (found_name, found_type) == (name, media_type)
    data = content_of(content)
    ids, confidence = columns(30, 41)
    if part in ("ids", "palette"):
        np.testing.assert_array_equal(pixels_of(data), ids)
    elif part == "confidence":
        np.testing.assert_array_equal(pixels_of(data), confidence)
    elif part == "overlay":
        shown = np.asarray(Image.open(visits.file(job, "photo")))
        expected = paint(shown, ids, PaintStyle.from_dict(LOOK, CAMVID), confidence)
        np.testing.assert_array_equal(pixels_of(data), expected)
        assert (expected != paint(shown, ids, PaintStyle(CAMVID.palette), confidence)).any(), "the look must show"
    else:
        rows = rows_of(data)
        assert [row["class"] for row in rows] == list(CAMVID.names)
        assert [int(row["pixels"]) for row in rows] == np.bincount(ids.ravel(), minlength=11).tolist()


def test_a_zip_holds_every_part_of_every_photo_and_one_table_of_all(visits, photo, tmp_path):
    wide = tmp_path / "wide.png"
    Image.new("RGB", (50, 20), "gray").save(wide)
    jobs = [
        visits.do("photo", "columns", photo, name="a.jpg"),
        visits.do("photo", "columns", wide, name="a.png"),
        visits.do("photo", "brightness", photo, name="A"),
    ]
    name, media_type, content = bundle(jobs, LOOK, ALL, visits.catalog)
    assert (name, media_type) == ("streetlab-3-results.zip", "application/zip")
    found = unzipped(content)
    masks = [f"{stem}_{part}.png" for stem in ("a", "a-2") for part in ("ids", "palette", "confidence", "overlay")]
    assert sorted(found) == sorted([*masks, "a_shares.csv", "a-2_shares.csv", "A-3_probabilities.csv", "shares.csv"])
    assert pixels_of(found["a_ids.png"]).shape == (30, 41)
    assert pixels_of(found["a-2_ids.png"]).shape == (20, 50)
    rows = rows_of(found["shares.csv"])
    assert [row["file"] for row in rows] == ["a"] * 11 + ["a-2"] * 11
    assert {row["model"] for row in rows} == {"the columns"}
    assert rows[0] == {"file": "a", "model": "the columns"} | rows_of(found["a_shares.csv"])[0]
    assert [row["class"] for row in rows_of(found["A-3_probabilities.csv"])] == list(CLEANLINESS.names)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot"),
        ("a/b\\c:d.jpg", "a_b_c_d"),
        ("=cmd|' /C calc'!A0.png", "cmd_' _C calc'!A0"),
        ("-rf.png", "rf"),
        ("", "photo"),
        ("...", "photo"),
        ("\0\u202eгород\n№1.jpeg", "город №1"),
        ("x" * 300 + ".jpg", "x" * 80),
        ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)_"),
    ],
)
def test_no_name_leads_out_of_the_folder_it_is_unpacked_in(visits, photo, name, stem):
    job = visits.do("photo", "columns", photo)
    job.name = name
    found_name, _, content = bundle([job], {}, ["ids", "csv"], visits.catalog)
    assert found_name == f"{stem}.zip"
    assert sorted(unzipped(content)) == [f"{stem}_ids.png", f"{stem}_shares.csv"]


def test_what_a_job_does_not_have_is_left_out_unless_nothing_is_left(visits, photo):
    masks, labels = visits.do("photo", "columns", photo), visits.do("photo", "brightness", photo, name="b.png")
    found = unzipped(bundle([masks, labels], {}, ["ids"], visits.catalog)[2])
    assert sorted(found) == ["street_ids.png"]
    with pytest.raises(UserError, match=r"b\.png has no ids; b\.png has no overlay"):
        bundle([labels], {}, ["ids", "overlay"], visits.catalog)


def test_an_overlay_rendered_before_stands_beside_its_mask(visits, photo):
    job = visits.do("photo", "columns", photo)
    shown = visits.do("render", "columns", name="street.png", source=job.id, alpha=1)
    found = unzipped(bundle([job, shown], {}, ["ids", "overlay"], visits.catalog)[2])
    assert sorted(found) == ["street_ids.png", "street_overlay.png"]
    np.testing.assert_array_equal(pixels_of(found["street_overlay.png"]), np.array(CAMVID.palette)[columns(30, 41)[0]])


@pytest.mark.parametrize(
    ("parts", "look", "line"),
    [
        (["mask"], {}, "parts: 'mask' is not one of ids, palette, confidence, overlay, csv"),
        (["overlays"], {}, "did you mean 'overlay'"),
        ([], {}, "parts: none is named"),
        (["overlay"], {"alpha": 2}, "look.alpha"),
        (["overlay"], {"hidden": [11]}, "look.hidden"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_sent(visits, photo, parts, look, line):
    job = visits.do("photo", "columns", photo)
    with pytest.raises(UserError, match=line):
        bundle([job], look, parts, visits.catalog)


def test_a_job_without_a_result_is_named(visits, photo):
    job = visits.do("photo", "columns", photo)
    job.result, job.state = None, "failed"
    with pytest.raises(UserError, match=r"street\.png has no result \(failed\)"):
        bundle([job], {}, ["ids"], visits.catalog)
    with pytest.raises(UserError, match="jobs: none is named"):
        bundle([], {}, ["ids"], visits.catalog)


def test_overlays_are_painted_only_when_their_turn_comes(visits, photo, monkeypatch):
    from streetlab.app.jobs import bundle as download

    painted = []
    monkeypatch.setattr(download, "overlay_png", lambda folder, look: painted.append(folder) or b"png")
    jobs = [visits.do("photo", "columns", photo, name=f"{n}.png") for n in range(3)]
    _, _, content = bundle(jobs, {}, ["overlay"], visits.catalog)
    assert painted == []
    next(content)
    assert len(painted) == 1, "a hundred large overlays are never in memory at once"
    content_of(content)
    assert painted == [job.folder for job in jobs]


def test_a_zip_of_large_files_is_sent_in_pieces(tmp_path):
    big = tmp_path / "clip.mp4"
    big.write_bytes(os.urandom(3_000_000))
    members = [Member("clip.mp4", big), Member("table.csv", b"a,b\n" * 1000), Member("made.json", lambda: b"{}")]
    pieces = list(zip_stream(members))
    assert max(map(len, pieces)) <= 2**18
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        clip, table, made = archive.infolist()
        assert archive.read(clip) == big.read_bytes()
        assert (clip.compress_type, table.compress_type) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        assert json.loads(archive.read(made)) == {}
        assert clip.external_attr >> 16 == 0o100644, "files of their owner, not programs"

"""Measurements of an image: complete for any file, and taken once."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from streetlab.audit import fingerprints as module
from streetlab.audit import measures
from streetlab.audit.fingerprints import fingerprint_all
from streetlab.audit.phash import perceptual_hashes
from streetlab.audit.store import FILE_NAME
from streetlab.datasets import files
from streetlab.datasets.decode import read_photo
from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.labels import CLEANLINESS
from streetlab.datasets.source import DataSource, Sample
from streetlab.datasets.synthetic_cleanliness import SyntheticCleanliness
from streetlab.errors import UserError
from streetlab.synthetic import draw_scene


@pytest.fixture
def scene() -> Image.Image:
    return Image.fromarray(draw_scene(3, 128, 256).image)


class Files(DataSource):
    """All files of a folder, without labels that matter."""

    label_space = CLEANLINESS

    def __init__(self, root: Path) -> None:
        super().__init__("files", root.parent / "cache")
        self.root = root

    def samples(self, split: str) -> list[Sample]:
        paths = sorted(path for path in self.root.rglob("*") if path.is_file())
        return [Sample(path.name, 0, path.name, path) for path in paths]

    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        assert sample.path is not None
        return read_photo(sample.path, min_side)

    def fingerprint(self, sample: Sample) -> str:
        assert sample.path is not None
        return files.fingerprint(sample.path)


@pytest.fixture
def folder(tmp_path):
    """`folder({"x.jpg": bytes or image})`: a data set of these files, and its samples in the order of their names."""

    def make(contents: dict[str, bytes | Image.Image]) -> tuple[Files, list[Sample]]:
        root = tmp_path / "photos"
        root.mkdir(exist_ok=True)
        for name, content in contents.items():
            if isinstance(content, bytes):
                (root / name).write_bytes(content)
            else:
                content.save(root / name)
        source = Files(root)
        return source, source.samples("train")

    return make


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The ids of the images that are measured rather than remembered."""
    ids: list[str] = []

    def measure(source, sample):
        ids.append(sample.id)
        return measures.measure(source, sample)

    monkeypatch.setattr(module, "measure", measure)
    return ids


@pytest.mark.parametrize("seed", range(8))
def test_hash_is_imagehash_s_also_of_the_mirror_image(seed):
    picture = Image.fromarray(draw_scene(seed, 128, 256).image)
    phash, mirrored = perceptual_hashes(picture.convert("L"))
    for ours, image in ((phash, picture), (mirrored, ImageOps.mirror(picture))):
        assert (ours ^ int(str(imagehash.phash(image)), 16)).bit_count() <= 2


def test_hashes_are_of_bytes_and_of_upright_pixels(folder, scene, tmp_path):
    lying = scene.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to stand upright
    (tmp_path / "photos").mkdir()
    lying.save(tmp_path / "photos" / "lying.png", exif=exif)
    source, samples = folder({"upright.png": scene, "other name.jpg": b""})
    scene.save(tmp_path / "photos" / "other name.jpg", format="PNG", compress_level=1)
    prints = fingerprint_all(source, samples, tmp_path / "kept")
    at = {sample.id: place for place, sample in enumerate(samples)}
    assert prints.sha256 == [hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in samples]
    assert len(set(prints.pixels)) == 1
    assert len(set(prints.sha256)) == 3
    assert prints.format[at["other name.jpg"]] == "PNG"
    assert (prints.width[at["lying.png"]], prints.height[at["lying.png"]]) == (256, 128)
    assert prints.decoded.all()


def test_measures_rank_a_blurred_a_dark_and_an_overexposed_photo(folder, scene, tmp_path):
    pixels = np.asarray(scene)
    blank = Image.new("RGB", (64, 48), (255, 255, 255))
    source, samples = folder(
        {
            "0 plain.png": scene,
            "1 blurred.png": scene.filter(ImageFilter.GaussianBlur(3)),
            "2 dark.png": Image.fromarray(pixels // 16),
            "3 bright.png": Image.fromarray((pixels // 16 + 240).astype(np.uint8)),
            "4 blank.png": blank,
        }
    )
    prints = fingerprint_all(source, samples, tmp_path / "kept")
    plain, blurred, dark, bright, white = range(5)
    assert prints.sharpness[blurred] < prints.sharpness[plain] / 10
    assert prints.sharpness[white] == 0
    assert prints.brightness[dark] < 0.06 < prints.brightness[plain] < 0.94 < prints.brightness[bright]
    assert prints.brightness[white] == pytest.approx(1)
    assert list(prints.dark_share[[dark, bright, white]]) == [1, 0, 0]
    assert list(prints.bright_share[[dark, bright, white]]) == [0, 1, 1]


def test_sharpness_does_not_depend_on_the_size_of_the_photo(folder, tmp_path):
    photo = Image.fromarray(draw_scene(5, 768, 1024).image)
    source, samples = folder({"large.png": photo, "small.png": photo.resize((512, 384), Image.Resampling.LANCZOS)})
    large, small = fingerprint_all(source, samples, tmp_path / "kept").sharpness
    assert large == pytest.approx(small, rel=0.25)


def test_broken_files_are_described_and_stop_nothing(folder, scene, tmp_path):
    scene.save(tmp_path / "whole.jpg")
    jpeg = (tmp_path / "whole.jpg").read_bytes()
    closed = {"closed.png": scene} if os.geteuid() else {}  # root may read anything
    source, samples = folder(
        {"cut.jpg": jpeg[: len(jpeg) // 2], "empty.png": b"", "good.jpg": jpeg, "text.jpg": b"words", **closed}
    )
    if closed:
        (tmp_path / "photos" / "closed.png").chmod(0)
    prints = fingerprint_all(source, samples, tmp_path / "kept")
    errors = dict(zip((sample.id for sample in samples), prints.error, strict=True))
    assert errors.pop("good.jpg") is None
    assert "truncated" in errors["cut.jpg"]
    assert "empty" in errors["empty.png"]
    assert "not an image" in errors["text.jpg"]
    assert not any(str(tmp_path) in error or "\n" in error for error in errors.values())
    assert list(prints.decoded) == [sample.id == "good.jpg" for sample in samples]
    assert prints.phash[~prints.decoded].max() == 0
    assert prints.format[[sample.id for sample in samples].index("cut.jpg")] == "JPEG"


def test_an_image_that_cannot_be_measured_for_any_reason_is_described(folder, scene, tmp_path, monkeypatch):
    source, samples = folder({"x.png": scene, "y.png": scene})
    read = source.read

    def fail(sample, min_side=None):
        if sample.id == "x.png":
            raise ZeroDivisionError("in a decoder")
        return read(sample)

    monkeypatch.setattr(source, "read", fail)
    assert fingerprint_all(source, samples, tmp_path / "kept").error == ["ZeroDivisionError: in a decoder", None]


def test_drawn_pictures_have_pixels_but_no_bytes(tmp_path):
    source = SyntheticCleanliness((32, 64), name="drawn", train=3, val=1, test=1, cache_dir=tmp_path / "cache")
    samples = [sample for split in ("train", "val", "test") for sample in source.samples(split)]
    prints = fingerprint_all(source, samples, tmp_path / "kept")
    assert prints.sha256 == [None] * 5
    assert len(set(prints.pixels)) == 5
    again = fingerprint_all(source, samples, tmp_path / "kept")
    assert again.pixels == prints.pixels


def test_a_second_audit_decodes_nothing_and_says_the_same(folder, scene, tmp_path, decoded):
    source, samples = folder({"x.png": scene, "y.jpg": scene, "text.jpg": b"words"})
    first = fingerprint_all(source, samples, tmp_path / "kept")
    assert len(decoded) == 3
    second = fingerprint_all(source, samples, tmp_path / "kept")
    assert len(decoded) == 3
    for name in vars(first):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.phash.max() > np.iinfo(np.int64).max  # hashes that SQLite's integers do not hold as they are


def test_a_changed_file_is_measured_again(folder, scene, tmp_path, decoded):
    source, samples = folder({"x.png": scene, "y.png": scene})
    before = fingerprint_all(source, samples, tmp_path / "kept")
    ImageOps.mirror(scene).save(samples[0].path)
    decoded.clear()
    after = fingerprint_all(source, samples, tmp_path / "kept")
    assert decoded == ["x.png"]
    assert before.pixels[0] != after.pixels[0]
    assert before.pixels[1] == after.pixels[1]


def test_a_file_that_was_missing_is_read_once_it_is_there(folder, scene, tmp_path):
    source, samples = folder({"x.png": scene})
    hidden = samples[0].path.rename(tmp_path / "hidden")
    assert "cannot be read" in (fingerprint_all(source, samples, tmp_path / "kept").error[0] or "")
    hidden.rename(samples[0].path)
    assert fingerprint_all(source, samples, tmp_path / "kept").decoded.all()


_KILLED = """
import os, sqlite3, sys, time
from pathlib import Path
from streetlab.audit import fingerprints, measures, store
from streetlab.datasets.image_folder import ImageFolder
store._COMMIT_SECONDS = 0
read = 0
def measure(source, sample):
    global read
    read += 1
    if read > 4:
        kept = sqlite3.connect(Path(sys.argv[3]) / store.FILE_NAME)
        while kept.execute("SELECT COUNT(*) FROM images").fetchone() != (4,):
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    return measures.measure(source, sample)
fingerprints.measure = measure
os.cpu_count = lambda: 1
source = ImageFolder("photos", sys.argv[1], sys.argv[2], split_file=None)
fingerprints.fingerprint_all(source, source.samples("train"), Path(sys.argv[3]))
"""


def test_a_killed_audit_goes_on_where_it_was(photo_tree, tmp_path, decoded):
    places = ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b")
    tree = photo_tree(tmp_path / "photos", dict.fromkeys(places, 5))
    script = [sys.executable, "-c", _KILLED, str(tree), str(tmp_path / "cache"), str(tmp_path / "kept")]
    killed = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    source = ImageFolder("photos", tree, tmp_path / "cache")
    prints = fingerprint_all(source, source.samples("train"), tmp_path / "kept")
    assert len(decoded) == 6
    assert prints.decoded.all()


@pytest.mark.parametrize("damage", ["text", "pages", "columns", "cut"])
def test_a_damaged_cache_is_thrown_away_with_a_warning(photo_tree, tmp_path, caplog, damage):
    tree = photo_tree(tmp_path / "photos", {"train/a": 40, "val/a": 1, "test/a": 1})
    source = Files(tree)
    samples = source.samples("train")
    first = fingerprint_all(source, samples, tmp_path / "kept")
    kept = tmp_path / "kept" / FILE_NAME
    content = kept.read_bytes()
    if damage == "text":
        kept.write_text("this is not a database, but long enough to be read as one" * 100)
    elif damage == "pages":
        kept.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    elif damage == "cut":
        kept.write_bytes(content[: len(content) // 2])
    else:
        with sqlite3.connect(kept) as connection:
            connection.execute("ALTER TABLE images DROP COLUMN pixels")
        connection.close()
    second = fingerprint_all(source, samples, tmp_path / "kept")
    assert second.pixels == first.pixels
    assert "is damaged" in caplog.text
    caplog.clear()
    assert fingerprint_all(source, samples, tmp_path / "kept").pixels == first.pixels
    assert "is damaged" not in caplog.text


def test_what_other_measures_kept_is_measured_again(folder, scene, tmp_path, decoded, monkeypatch):
    source, samples = folder({"x.png": scene})
    fingerprint_all(source, samples, tmp_path / "kept")
    monkeypatch.setattr("streetlab.audit.store.MEASURES_VERSION", measures.MEASURES_VERSION + 1)
    fingerprint_all(source, samples, tmp_path / "kept")
    assert decoded == ["x.png", "x.png"]


def test_a_cache_that_cannot_be_written_is_one_line(folder, scene, tmp_path):
    source, samples = folder({"x.png": scene})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write") as error:
        fingerprint_all(source, samples, tmp_path / "file")
    assert "\n" not in str(error.value)

"""The cache holds what Pillow would give, decodes nothing twice, survives kills, races and broken files."""

from __future__ import annotations

import builtins
import io
import json
import logging
import multiprocessing
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from streetlab.datasets.image_folder import ImageFolder
from streetlab.errors import UserError
from streetlab.loading import cache, cache_command
from streetlab.loading.cache import entries, open_cache

SIZE = (10, 12)
TREE = {f"{split}/{name}": 3 for split in ("train", "val", "test") for name in ("clean", "medium", "litter")}


@pytest.fixture
def root(tmp_path: Path, photo_tree) -> Path:
    return photo_tree(tmp_path / "photos", TREE)


def source(root: Path, **options) -> ImageFolder:
    return ImageFolder("photos", root, root.parent / "cache", labels="cleanliness", **options)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the photos that were decoded, as they are."""
    ids: list[str] = []
    read = ImageFolder.read

    def counting(self, sample, min_side=None):
        ids.append(sample.id)
        return read(self, sample, min_side)

    monkeypatch.setattr(ImageFolder, "read", counting)
    return ids


def pillow(path: Path) -> np.ndarray:
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))


def assert_rows_are_right(found: cache.CachedSplit) -> None:
    assert len(found.samples) == len(found.images)
    for sample, row in zip(found.samples, found.images, strict=True):
        np.testing.assert_array_equal(row, pillow(sample.path), err_msg=sample.id)


def test_rows_are_what_pillow_makes_of_each_photo(root: Path) -> None:
    found = open_cache(source(root), "train", SIZE)
    assert found.images.shape == (9, *SIZE, 3)
    assert found.images.dtype == np.uint8
    assert [sample.id for sample in found.samples] == [sample.id for sample in source(root).samples("train")]
    assert_rows_are_right(found)
    assert not found.images.flags.writeable


def test_a_large_jpeg_decoded_at_reduced_size_loses_no_visible_quality(root: Path) -> None:
    path = root / "train" / "clean" / "0.png"
    blurred = Image.fromarray(np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8))
    buffer = io.BytesIO()
    blurred.resize((800, 600), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    path.write_bytes(buffer.getvalue())
    row = open_cache(source(root), "train", SIZE).images[0]
    difference = np.abs(row.astype(int) - pillow(path))
    assert difference.mean() < 3


def test_the_second_epoch_and_the_second_run_decode_nothing(root: Path, decoded: list[str]) -> None:
    first = open_cache(source(root), "train", SIZE)
    assert len(decoded) == 9
    again = open_cache(source(root), "train", SIZE)
    assert len(decoded) == 9
    assert again.folder == first.folder


def test_only_a_changed_photo_is_decoded_anew(root: Path, decoded: list[str]) -> None:
    open_cache(source(root), "train", SIZE)
    decoded.clear()
    changed = root / "train" / "medium" / "1.png"
    Image.new("RGB", (9, 9), "red").save(changed)
    found = open_cache(source(root), "train", SIZE)
    assert decoded == ["train/medium/1.png"]
    assert_rows_are_right(found)


def test_an_added_photo_is_the_only_one_decoded(root: Path, photo_tree, decoded: list[str]) -> None:
    open_cache(source(root), "train", SIZE)
    decoded.clear()
    photo_tree(root, {"train/clean/more": 1})
    found = open_cache(source(root), "train", SIZE)
    assert decoded == ["train/clean/more/0.png"]
    assert_rows_are_right(found)


def test_touched_or_relabelled_photos_are_not_decoded_again(root: Path, decoded: list[str]) -> None:
    open_cache(source(root), "train", SIZE)
    decoded.clear()
    os.utime(root / "train" / "clean" / "0.png", (1, 1))
    (root / "train" / "clean" / "1.png").rename(root / "train" / "litter" / "11.png")
    found = open_cache(source(root), "train", SIZE)
    assert decoded == []
    assert_rows_are_right(found)
    assert {sample.id: sample.label for sample in found.samples}["train/litter/11.png"] == 2


def test_another_size_is_another_entry(root: Path) -> None:
    assert open_cache(source(root), "val", SIZE).folder != open_cache(source(root), "val", (12, 10)).folder


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "no array", "no index", "half an index"])
def test_a_damaged_entry_is_built_again(root: Path, damage: str) -> None:
    folder = open_cache(source(root), "train", SIZE).folder
    images, index = folder / "images.npy", folder / "index.json"
    if damage == "truncated":
        images.write_bytes(images.read_bytes()[:-100])
    elif damage == "zeroed":
        images.write_bytes(bytes(images.stat().st_size))
    elif damage == "half an index":
        index.write_text(index.read_text()[:50])
    else:
        (images if damage == "no array" else index).unlink()
    assert_rows_are_right(open_cache(source(root), "train", SIZE))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


class SlowFolder(ImageFolder):
    """Decoding takes long enough to be raced or killed."""

    def read(self, sample, min_side=None):
        time.sleep(0.05)
        return super().read(sample, min_side)


def build_slowly(root: Path, answers=None) -> None:
    slow = SlowFolder("photos", root, root.parent / "cache", labels="cleanliness")
    found = open_cache(slow, "train", SIZE)
    if answers is not None:
        answers.put((str(found.folder), int(found.images.astype(int).sum())))


def test_two_processes_that_build_the_same_entry_both_succeed(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=build_slowly, args=(root, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert found[0] == found[1]
    assert_rows_are_right(open_cache(source(root), "train", SIZE))
    assert len(list((root.parent / "cache" / "photos").iterdir())) == 1


def test_a_slower_process_leaves_the_quicker_ones_entry_to_its_readers(root: Path, tmp_path: Path) -> None:
    folder = open_cache(source(root), "train", SIZE).folder
    inode = (folder / "images.npy").stat().st_ino
    late = tmp_path / "late"
    shutil.copytree(folder, late)
    cache._publish(late, folder)
    assert (folder / "images.npy").stat().st_ino == inode


def test_a_killed_build_leaves_no_entry_and_its_leftovers_are_removed(root: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=build_slowly, args=(root,))
    process.start()
    parent, until = root.parent / "cache" / "photos", time.monotonic() + 60
    while not list(parent.glob(".building-*/images.npy")) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.join(60)
    assert entries(root.parent / "cache") == []
    assert len(list(parent.glob(".building-*"))) == 1
    assert_rows_are_right(open_cache(source(root), "train", SIZE))
    assert not list(parent.glob(".building-*"))


def test_a_build_that_another_process_has_under_way_is_left_alone(root: Path) -> None:
    parent = root.parent / "cache" / "photos"
    theirs = [
        parent / f".building-{os.getppid()}@{os.uname().nodename}-train",
        parent / ".building-1@far-train",
    ]
    for folder in theirs:
        folder.mkdir(parents=True)
    open_cache(source(root), "train", SIZE)
    assert all(folder.is_dir() for folder in theirs)


def spoil(root: Path) -> Path:
    path = root / "train" / "medium" / "1.png"
    path.write_bytes(path.read_bytes()[:80])
    return path


def test_a_truncated_photo_stops_the_run_by_name(root: Path) -> None:
    path = spoil(root)
    for _ in range(2):  # decoded now, and from the entry
        with pytest.raises(UserError) as error:
            open_cache(source(root), "train", SIZE)
        assert str(path) in str(error.value)
        assert "dataset.on_error=skip" in str(error.value)
        assert "\n" not in str(error.value)


def test_skipping_leaves_a_broken_photo_out_and_says_so(root: Path, caplog) -> None:
    path = spoil(root)
    with caplog.at_level(logging.WARNING):
        found = open_cache(source(root, on_error="skip"), "train", SIZE)
    assert len(found.samples) == 8
    assert "train/medium/1.png" not in {sample.id for sample in found.samples}
    assert_rows_are_right(found)
    assert "left out 1 of 9 photos of train" in caplog.text
    assert str(path) in caplog.text


def test_a_mended_photo_takes_its_place_again(root: Path, decoded: list[str]) -> None:
    path = spoil(root)
    open_cache(source(root, on_error="skip"), "train", SIZE)
    Image.new("RGB", (9, 9), "red").save(path)
    decoded.clear()
    found = open_cache(source(root), "train", SIZE)
    assert decoded == ["train/medium/1.png"]
    assert len(found.samples) == 9
    assert_rows_are_right(found)


def test_a_link_to_nothing_is_a_broken_photo_and_not_a_broken_cache(root: Path) -> None:
    (root / "train" / "clean" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        open_cache(source(root), "train", SIZE)
    assert len(open_cache(source(root, on_error="skip"), "train", SIZE).samples) == 9


def test_a_photo_that_was_closed_and_then_opened_is_read(root: Path, monkeypatch) -> None:
    closed = root / "train" / "clean" / "0.png"
    access = os.access

    def refuse(opened):
        def open_(path, *arguments, **options):
            if path in (closed, str(closed)):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *arguments, **options)

        return open_

    with monkeypatch.context() as as_another_user:
        as_another_user.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
        as_another_user.setattr(Path, "open", refuse(Path.open))
        as_another_user.setattr(builtins, "open", refuse(open))
        with pytest.raises(UserError, match=r"clean/0\.png: no permission to read it"):
            open_cache(source(root), "train", SIZE)
    assert_rows_are_right(open_cache(source(root), "train", SIZE))


def test_a_thousand_broken_photos_still_make_a_readable_line(root: Path) -> None:
    for path in (root / "train").rglob("*.png"):
        path.write_text("no photo")
    with pytest.raises(UserError, match="; and 4 more"):
        open_cache(source(root), "train", SIZE)
    with pytest.raises(UserError, match=r"no photo of split 'train' decodes: .*0\.png"):
        open_cache(source(root, on_error="skip"), "train", SIZE)


def test_an_unwritable_cache_folder_is_one_clear_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # root may write anywhere but below a file
    photos = ImageFolder("photos", root, tmp_path / "file" / "cache", labels="cleanliness")
    with pytest.raises(UserError, match=r"dataset\.cache_dir: cannot write .*dataset\.cache_dir=DIR") as error:
        open_cache(photos, "train", SIZE)
    assert str(tmp_path / "file") in str(error.value)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(root: Path, monkeypatch) -> None:
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        open_cache(source(root), "train", SIZE)
    assert list((root.parent / "cache" / "photos").iterdir()) == []


def test_nothing_is_written_under_the_photos(root: Path) -> None:
    before = sorted(root.rglob("*"))
    for split in ("train", "val", "test"):
        open_cache(source(root), split, SIZE)
    assert sorted(root.rglob("*")) == before


def test_the_command_shows_and_deletes_entries(root: Path, capsys) -> None:
    where = root.parent / "cache"
    sizes = {open_cache(source(root), split, SIZE).folder: 9 * 360 for split in ("train", "val")}
    (where / "photos" / ".building-4194303@nowhere-train").mkdir()
    found = dict(entries(where))
    assert found.keys() == sizes.keys()
    assert all(found[folder] > sizes[folder] for folder in found)
    cache_command.run(OmegaConf.create({"cache_dir": str(where), "delete": False}))
    shown = capsys.readouterr().out
    assert all(re.search(rf"photos/{folder.name}\b.*(kB|bytes)", shown) for folder in found)
    assert dict(entries(where)) == found
    cache_command.run(OmegaConf.create({"cache_dir": str(where), "delete": True}))
    assert "deleted 2 entries" in capsys.readouterr().out
    assert entries(where) == []


def test_deleting_from_the_wrong_folder_deletes_nothing_of_others(tmp_path: Path) -> None:
    website = tmp_path / "site" / "public"
    lookalike = tmp_path / "site" / "train-10x12-0123456789abcdef"
    for folder in (website, lookalike):
        folder.mkdir(parents=True)
        (folder / "index.json").write_text("{}")
    (lookalike / "thesis.tex").write_text("years of work")
    cache_command.run(OmegaConf.create({"cache_dir": str(tmp_path), "delete": True}))
    assert (website / "index.json").exists()
    assert (lookalike / "thesis.tex").exists()


def test_a_missing_cache_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    with pytest.raises(UserError, match=r"cache_dir: no folder .*output; did you mean 'outputs'"):
        cache_command.run(OmegaConf.create({"cache_dir": str(tmp_path / "output"), "delete": False}))


def test_every_real_photo_decodes(shared_data, tmp_path: Path) -> None:
    photos = ImageFolder("real", shared_data("street_cleanliness"), tmp_path, labels="cleanliness")
    for split, count in {"train": 521, "val": 108, "test": 112}.items():
        found = open_cache(photos, split, (32, 32))
        assert len(found.images) == count
        assert json.loads((found.folder / "index.json").read_text())["skipped"] == []
        assert found.images.std(axis=(1, 2, 3)).min() > 1  # no photo came out as one flat colour

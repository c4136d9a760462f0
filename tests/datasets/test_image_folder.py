"""A folder of photos gives the same split wherever it lies, and says what is wrong in the user's own keys."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from streetlab.datasets.image_folder import ImageFolder
from streetlab.errors import UserError

TREE = {"clean": 8, "litter": 7, "medium": 9}
SPLITS = ("train", "val", "test")


def folder(root: Path, cache: Path, **options) -> ImageFolder:
    return ImageFolder("photos", root, cache, **({"labels": "cleanliness"} | options))


def contents(source: ImageFolder) -> dict[str, set[str]]:
    return {split: set(source.content_hashes(source.samples(split))) for split in SPLITS}


def listing(root: Path) -> list[tuple[str, bytes]]:
    return sorted((str(path.relative_to(root)), path.read_bytes()) for path in root.rglob("*") if path.is_file())


def test_a_tree_without_split_folders_is_split_once_and_the_split_kept_as_content_hashes(tmp_path, photo_tree):
    source = folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    assert [len(source.samples(split)) for split in SPLITS] == [18, 3, 3]
    for split in SPLITS:
        assert {sample.label for sample in source.samples(split)} == {0, 1, 2}
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    kept = {digest: entry["split"] for digest, entry in json.loads(file.read_text())["photos"].items()}
    assert kept == {digest: split for split, found in contents(source).items() for digest in found}


def test_the_split_returns_after_renaming_and_moving_and_from_another_working_folder(tmp_path, photo_tree, monkeypatch):
    before = contents(folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache"))
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    for number, path in enumerate(sorted((tmp_path / "elsewhere" / "litter").iterdir())):
        path.rename(path.with_name(f"renamed_{9 - number}.PNG"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert contents(folder(Path("../elsewhere"), Path("cache"))) == before
    assert contents(folder(Path("../elsewhere"), Path("cache2"), split_seed=1, split_file=file)) == before
    assert contents(folder(Path("../elsewhere"), Path("cache3"), split_seed=1)) != before


def test_the_same_bytes_never_lie_in_two_splits(tmp_path, photo_tree):
    photo_tree(tmp_path / "photos", TREE)
    for number in range(8):
        shutil.copy(tmp_path / f"photos/clean/{number}.png", tmp_path / f"photos/clean/copy_{number}.png")
    shutil.copy(tmp_path / "photos/clean/0.png", tmp_path / "photos/medium/also.png")
    train, val, test = contents(folder(tmp_path / "photos", tmp_path / "cache")).values()
    assert len(train | val | test) == len(train) + len(val) + len(test) == 24


def test_photos_unknown_to_the_split_are_counted_and_the_first_is_named(tmp_path, photo_tree):
    folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    photo_tree(tmp_path / "photos", {"litter/new": 2})
    message = r"knows nothing of 2 of the 26 photos, first litter/new/0\.png \(delete the file for a new split"
    with pytest.raises(UserError, match=message):
        folder(tmp_path / "photos", tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    with pytest.raises(UserError, match=r"knows nothing of 2 of the 26 photos, .* \(make a new split, or take"):
        folder(tmp_path / "photos", tmp_path / "cache", split_file=file)


def test_the_split_file_of_other_photos_is_told_from_one_that_lacks_a_few(tmp_path, photo_tree):
    folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    other = photo_tree(tmp_path / "other", {f"{name}/deeper": 4 for name in TREE})
    with pytest.raises(UserError, match=r"knows none of the 12 photos, first clean/deeper/0\.png: it is the split of"):
        folder(other, tmp_path / "cache", split_file=file)


def test_entries_of_photos_that_are_gone_are_counted_in_the_log(tmp_path, photo_tree, caplog):
    folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    (tmp_path / "photos/clean/0.png").unlink()
    with caplog.at_level("INFO", "streetlab"):
        folder(tmp_path / "photos", tmp_path / "cache", split_file=file)
    assert f"{file}: 1 of its 24 photos are not in" in caplog.text


def test_groups_and_labels_come_from_the_split_file_and_its_hash_is_known(tmp_path, photo_tree):
    source = folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    assert (source.split_file_sha256, source.split_record()["split_file"]) == (None, None)
    sample = source.samples("train")[0]
    assert sample.group == sample.id
    (drawn,) = (tmp_path / "cache" / "splits").iterdir()
    plain = json.loads(drawn.read_text())
    plain["photos"][source.content_hashes([sample])[0]] |= {"group": "twins", "label": "Litter"}
    file = tmp_path / "split.json"
    file.write_text(json.dumps(plain))
    told = folder(tmp_path / "photos", tmp_path / "cache", split_file=file)
    changed = next(other for other in told.samples("train") if other.id == sample.id)
    assert (changed.group, told.label_space.names[changed.label]) == ("twins", "Litter")
    assert told.split_hash() != source.split_hash()
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert told.split_file_sha256 == sha256
    about = {"name": "split.json", "sha256": sha256}
    assert told.split_record() == {"split_hash": told.split_hash(), "split_file": about}


def test_a_photo_that_a_split_file_leaves_out_is_in_no_split(tmp_path, photo_tree):
    source = folder(photo_tree(tmp_path / "photos", TREE), tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    plain = json.loads(file.read_text())
    plain["photos"][source.content_hashes(source.samples("train"))[0]] = {"split": None}
    file.write_text(json.dumps(plain))
    assert len(folder(tmp_path / "photos", tmp_path / "cache").samples("train")) == 17


def test_a_class_too_small_to_split_is_named_with_the_root(tmp_path, photo_tree):
    photo_tree(tmp_path / "photos", TREE | {"litter": 2})
    with pytest.raises(UserError, match=r"dataset\.root: .*photos: class Litter has 2 groups of photos"):
        folder(tmp_path / "photos", tmp_path / "cache")


def test_split_hash_notices_a_moved_photo_and_not_a_moved_root(tmp_path, photo_tree):
    places = {f"{split}/{name}": 2 for split in SPLITS for name in TREE}
    before = folder(photo_tree(tmp_path / "a", places), tmp_path / "cache").split_hash()
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "deeper")
    assert folder(tmp_path / "b" / "deeper", tmp_path / "cache").split_hash() == before
    (tmp_path / "a/train/clean/0.png").rename(tmp_path / "a/train/litter/00.png")
    relabelled = folder(tmp_path / "a", tmp_path / "cache").split_hash()
    (tmp_path / "a/train/litter/00.png").rename(tmp_path / "a/val/litter/00.png")
    assert len({before, relabelled, folder(tmp_path / "a", tmp_path / "cache").split_hash()}) == 3


def test_a_root_with_a_tilde_is_in_the_home_folder(tmp_path, photo_tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photo_tree(tmp_path / "my photos [1], ä=b", TREE)
    source = ImageFolder("photos", "~/my photos [1], ä=b", "~/cache", labels="cleanliness")
    assert len(source.samples("train")) == 18
    assert (tmp_path / "cache" / "splits").is_dir()


def test_the_photos_are_never_written_to(tmp_path, photo_tree):
    root = photo_tree(tmp_path / "photos", TREE)
    before = listing(root)
    with pytest.raises(UserError, match=r"dataset\.cache_dir: .* lies under the photos"):
        folder(root, root / ".cache")
    folder(root, tmp_path / "cache")
    assert listing(root) == before


def test_a_photo_that_cannot_be_read_is_named_when_the_split_is_drawn(tmp_path, photo_tree):
    photo_tree(tmp_path / "photos", TREE)
    (tmp_path / "photos/clean/gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png: cannot be read \(No such file.*dataset\.on_error=skip"):
        folder(tmp_path / "photos", tmp_path / "cache")


def test_a_photo_that_cannot_be_read_is_left_out_of_a_split_where_that_is_asked_for(tmp_path, photo_tree, caplog):
    photo_tree(tmp_path / "photos", TREE)
    (tmp_path / "photos/clean/gone.png").symlink_to(tmp_path / "nowhere.png")
    for options in ({}, {"folds": 4, "fold": 0}):
        source = folder(tmp_path / "photos", tmp_path / "cache", on_error="skip", **options)
        assert sum(len(source.samples(split)) for split in SPLITS) == 24
    assert "left out 1 of 25 photos" in caplog.text


def test_an_unwritable_cache_is_one_clear_line_when_the_split_is_drawn(tmp_path, photo_tree):
    photo_tree(tmp_path / "photos", TREE)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"dataset\.cache_dir: cannot write .*give another with dataset\.cache_dir="):
        folder(tmp_path / "photos", tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "skipp"}, r"dataset\.on_error: 'skipp' .* did you mean 'skip'\?"),
        (
            {"labels": "cleanlines"},
            r"dataset\.labels: no label space 'cleanlines' .* did you mean 'cleanliness'\?",
        ),
        (
            {"labels": "cityscapes"},
            r"dataset\.labels: no label space 'cityscapes' for photos \(cleanliness\)",
        ),
        ({"name": "a/b"}, r"dataset\.name: 'a/b'"),
        ({"split_file": "nowhere.json"}, r"dataset\.split_file: no file nowhere\.json"),
    ],
)
def test_a_typo_in_a_key_names_the_key_and_the_nearest_choice(tmp_path, photo_tree, options, message):
    settings = {
        "name": "photos",
        "root": photo_tree(tmp_path / "photos", TREE),
        "cache_dir": tmp_path / "cache",
    }
    with pytest.raises(UserError, match=message):
        ImageFolder(**(settings | options))


def test_the_real_photos_are_those_of_the_original_study(shared_data, tmp_path):
    source = folder(shared_data("street_cleanliness"), tmp_path)
    assert [len(source.samples(split)) for split in SPLITS] == [521, 108, 112]
    assert source.label_space.names == ("Clean", "Medium", "Litter")

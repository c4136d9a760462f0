"""A tree of class folders is read as people mean it, and whatever is wrong with it is named."""

from __future__ import annotations

import logging
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from streetlab.datasets.content import HIDDEN, NEEDS_EXTRA, NO_CLASS, NO_IMAGE, NO_SPLIT, UNREADABLE, VIDEO, PassedOver
from streetlab.datasets.labels import CLEANLINESS
from streetlab.datasets.scan import SPLIT_FOLDERS, scan_class_folders
from streetlab.errors import UserError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(400)
SPLIT_TREE = {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("clean", "litter", "medium")}


def scan(root: Path, space=CLEANLINESS):
    return scan_class_folders(root, "dataset.root", space)


def complaint(root: Path, space=CLEANLINESS) -> str:
    with pytest.raises(UserError) as error:
        scan(root, space)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_labels_follow_the_scale_and_not_the_alphabet(tmp_path: Path, photo_tree) -> None:
    photos, space = scan(photo_tree(tmp_path, SPLIT_TREE))
    assert space.names == ("Clean", "Medium", "Litter")
    assert {photo.id.split("/")[1]: photo.label for photo in photos} == {"clean": 0, "medium": 1, "litter": 2}
    assert len(photos) == 18
    assert [photo.id for photo in photos] == sorted(photo.id for photo in photos)
    assert all(photo.path == tmp_path / photo.id for photo in photos)
    assert all(photo.split == photo.id.split("/")[0] for photo in photos)


def test_folder_names_match_in_any_case_and_splits_under_their_usual_names(tmp_path: Path, photo_tree) -> None:
    places = [f"{split}/{name}" for split in ("Train", "valid", "TEST") for name in ("CLEAN", "Medium", "litter")]
    photos, _ = scan(photo_tree(tmp_path, dict.fromkeys(places, 1)))
    assert {photo.split for photo in photos} == {"train", "val", "test"}


def test_photos_of_a_class_written_in_two_cases_are_all_found(tmp_path: Path, photo_tree) -> None:
    photos, _ = scan(photo_tree(tmp_path, {"clean": 2, "Clean": 3, "medium": 1, "litter": 1}))
    assert sum(photo.label == 0 for photo in photos) == 5


def test_a_class_written_differently_in_two_splits_is_one_class(tmp_path: Path, photo_tree) -> None:
    tree = {"train/Cat": 1, "train/dog": 1, "val/cat": 1, "val/dog": 1, "test/cat": 1, "test/Dog": 1}
    _, space = scan(photo_tree(tmp_path, tree), None)
    assert [name.lower() for name in space.names] == ["cat", "dog"]


def test_without_a_label_space_the_folders_name_the_classes(tmp_path: Path, photo_tree) -> None:
    photos, space = scan(photo_tree(tmp_path / "pets", {"dog": 1, "cat": 2, "Bird": 1}), None)
    assert space.names == ("Bird", "cat", "dog")
    assert space.name == "pets"
    assert {photo.split for photo in photos} == {None}


def test_uppercase_suffixes_and_folders_within_classes_count(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path, {"clean": 1, "medium": 1, "litter": 1, "litter/north/2024": 2})
    (tmp_path / "clean" / "0.png").rename(tmp_path / "clean" / "IMG_0.JPG")
    photos, _ = scan(tmp_path)
    assert {photo.id for photo in photos} == {
        "clean/IMG_0.JPG", "medium/0.png", "litter/0.png", "litter/north/2024/0.png",
        "litter/north/2024/1.png",
    }  # fmt: skip


def test_files_of_the_system_are_no_photos_and_its_folders_no_classes(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path, {"clean": 1, "medium": 1, "litter": 1, "__MACOSX/clean": 1, ".git": 1, "@eaDir": 1})
    photo_tree(tmp_path / "clean", {".ipynb_checkpoints": 1, "@eaDir": 1, "looks_like.jpg": 0})
    (tmp_path / "clean" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "clean" / "Thumbs.db").write_bytes(b"thumbnails")
    (tmp_path / "clean" / "notes.txt").write_text("words")
    (tmp_path / "README.md").write_text("words")
    assert [photo.id for photo in scan(tmp_path)[0]] == ["clean/0.png", "litter/0.png", "medium/0.png"]


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path / "disk", {"clean": 1, "more": 2})
    photo_tree(tmp_path / "tree", {"medium": 1, "litter": 1})
    (tmp_path / "tree" / "clean").symlink_to(tmp_path / "disk" / "clean")
    (tmp_path / "disk" / "clean" / "more").symlink_to(tmp_path / "disk" / "more")
    (tmp_path / "disk" / "more" / "up").symlink_to(tmp_path / "disk" / "clean")
    ids = [photo.id for photo in scan(tmp_path / "tree")[0] if photo.label == 0]
    assert ids == ["clean/0.png", "clean/more/0.png", "clean/more/1.png"]


def test_a_missing_root_names_the_nearest_folder(tmp_path: Path) -> None:
    (tmp_path / "street_cleanliness").mkdir()
    found = complaint(tmp_path / "street_cleanlines")
    assert found.startswith(f"dataset.root: no folder {tmp_path / 'street_cleanlines'}")
    assert "did you mean 'street_cleanliness'?" in found


def test_a_root_below_a_missing_folder_says_where_the_path_ends(tmp_path: Path) -> None:
    assert f"{tmp_path} has no 'dta'" in complaint(tmp_path / "dta" / "streets" / "photos")


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    found = complaint(tmp_path / "photos.zip")
    assert "is a file, not a folder" in found
    assert "did you mean" not in found


def test_a_root_without_class_folders_says_what_is_expected(tmp_path: Path) -> None:
    assert "holds no folders (expected one per class" in complaint(tmp_path)


def test_a_root_one_level_too_high_is_not_taken_for_a_single_class(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path / "street_cleanliness", SPLIT_TREE)
    found = complaint(tmp_path, None)
    assert "at least two classes (found street_cleanliness; is that the root itself?)" in found


@pytest.mark.parametrize("space", [CLEANLINESS, None], ids=["label space", "folder names"])
def test_a_class_may_be_empty_or_missing_in_a_split(tmp_path: Path, photo_tree, space) -> None:
    tree = {place: count for place, count in SPLIT_TREE.items() if place != "val/litter"} | {"test/medium": 0}
    photos, found = scan(photo_tree(tmp_path, tree), space)
    names = {split: {found.names[p.label].lower() for p in photos if p.split == split} for split in ("val", "test")}
    assert names == {"val": {"clean", "medium"}, "test": {"clean", "litter"}}
    assert len(found.names) == 3


@pytest.mark.usefixtures("no_heif")
def test_a_tree_without_photos_says_what_is_there_instead(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path, {"clean": 0, "medium": 0, "litter": 0})
    (tmp_path / "clean" / "IMG_1.HEIC").write_bytes(HEIC)
    found = complaint(tmp_path)
    assert "holds no photos in its class folders (1 file was not taken: 1 in a format that needs an extra" in found


@pytest.mark.usefixtures("no_heif")
def test_a_photo_is_known_by_its_bytes_and_all_other_files_are_counted_by_reason(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path, {"train/clean": 1, "train/medium": 1, "train/litter": 1})
    folder = tmp_path / "train" / "clean"
    shutil.copy(folder / "0.png", folder / "no_suffix")
    shutil.copy(folder / "0.png", folder / "0.jpg_large")
    for name in ("b.HEIC", "a.HEIC"):
        (folder / name).write_bytes(HEIC)
    (folder / "raw.dng").write_bytes(b"II*\0" + bytes(60))
    (folder / "clip").write_bytes(b"\0\0\0\x20ftypisom" + bytes(60))
    (folder / "notes").write_text("words")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    shutil.copy(folder / "0.png", tmp_path / "train" / "loose.png")
    (tmp_path / "README.md").write_text("words")
    passed = PassedOver()
    photos, _ = scan_class_folders(tmp_path, "dataset.root", CLEANLINESS, passed)
    assert {p.path.name for p in photos if p.label == 0} == {"0.png", "no_suffix", "0.jpg_large"}
    assert passed.counts == {NEEDS_EXTRA: 3, NO_IMAGE: 2, VIDEO: 1, HIDDEN: 1, UNREADABLE: 1, NO_CLASS: 1}
    assert passed.first[NEEDS_EXTRA] == str(folder / "a.HEIC")
    assert passed.sentence().startswith(
        "9 files were not taken: 3 in a format that needs an extra (HEIC or camera raw)"
    )
    assert passed.loses_photos


def test_files_with_a_photos_suffix_are_not_opened(tmp_path: Path, photo_tree, monkeypatch) -> None:
    photo_tree(tmp_path, SPLIT_TREE)

    def opened(*args, **kwargs):
        raise AssertionError("100,000 photos would be opened")

    monkeypatch.setattr(Path, "open", opened)
    assert len(scan(tmp_path)[0]) == 18


@pytest.mark.parametrize("splits", [["train", "val"], ["train", "test"], ["Train", "Valid"], ["test"], ["TRAINING"]])
def test_some_of_the_split_folders_are_enough(tmp_path: Path, photo_tree, splits: list[str]) -> None:
    photos, _ = scan(photo_tree(tmp_path, {f"{split}/{name}": 1 for split in splits for name in CLEANLINESS.names}))
    assert {photo.split for photo in photos} == {SPLIT_FOLDERS[split.lower()] for split in splits}


@pytest.mark.parametrize("classes", [["train", "bus", "car"], ["test", "control"], ["train", "test", "bus"]])
def test_a_folder_called_like_a_split_beside_others_is_a_class(tmp_path: Path, photo_tree, classes) -> None:
    photos, space = scan(photo_tree(tmp_path, dict.fromkeys(classes, 2)), None)
    assert space.names == tuple(sorted(classes))
    assert {photo.split for photo in photos} == {None}


def test_a_folder_beside_whole_splits_is_no_class_and_its_photos_are_counted(tmp_path: Path, photo_tree) -> None:
    passed = PassedOver()
    root = photo_tree(tmp_path, SPLIT_TREE | {"originals": 3})
    photos, space = scan_class_folders(root, "dataset.root", None, passed)
    assert (len(photos), space.names, passed.counts) == (18, ("clean", "litter", "medium"), {NO_SPLIT: 3})


def test_an_unknown_class_folder_names_the_nearest_class(tmp_path: Path, photo_tree) -> None:
    found = complaint(photo_tree(tmp_path, SPLIT_TREE | {"train/litterr": 1}))
    assert f"{tmp_path / 'train' / 'litterr'}: no class of 'cleanliness' (Clean, Medium, Litter)" in found
    assert "did you mean 'litter'?" in found


def test_a_class_folder_without_permission_is_named(tmp_path: Path, photo_tree, monkeypatch) -> None:
    photo_tree(tmp_path, SPLIT_TREE)

    def closed(folder, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        yield from ()

    monkeypatch.setattr("os.walk", closed)
    assert f"no permission to look into {tmp_path}" in complaint(tmp_path)


FORMS = {form: unicodedata.normalize(form, "Müll") for form in ("NFC", "NFD")}


def test_a_class_in_two_unicode_forms_is_one_class_and_that_is_said(
    tmp_path: Path, photo_tree, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        photos, space = scan(photo_tree(tmp_path, {FORMS["NFC"]: 2, FORMS["NFD"]: 3, "sauber": 1}), None)
    assert [unicodedata.normalize("NFC", name) for name in space.names] == ["Müll", "sauber"]
    assert sum(photo.label == 0 for photo in photos) == 5
    assert {photo.id.split("/")[0] for photo in photos} == {*FORMS.values(), "sauber"}  # as written
    assert f"{FORMS['NFD']!a} and {FORMS['NFC']!a} are one class" in caplog.text


def test_splits_may_spell_a_class_in_two_unicode_forms(tmp_path: Path, photo_tree) -> None:
    tree = {f"{split}/{FORMS[form]}": 1 for split, form in (("train", "NFC"), ("val", "NFD"), ("test", "NFC"))}
    photos, space = scan(
        photo_tree(tmp_path, tree | {f"{split}/sauber": 1 for split in ("train", "val", "test")}), None
    )
    assert len(space) == 2
    assert {photo.split for photo in photos if photo.label == 0} == {"train", "val", "test"}


def test_names_of_photos_and_classes_that_are_not_utf_8_become_text(tmp_path: Path, photo_tree) -> None:
    name = os.fsdecode(b"gr\xfcn\r")
    (photo_tree(tmp_path, {"gruen": 1, "rot": 1}) / "gruen").rename(tmp_path / name)
    photos, space = scan(tmp_path, None)
    assert space.names == ("gr\\xfcn\r", "rot")
    assert [photo.id for photo in photos] == ["gr\\xfcn\r/0.png", "rot/0.png"]
    assert photos[0].path == tmp_path / name / "0.png"


def test_classes_made_on_a_mac_keep_the_order_that_earlier_runs_have(tmp_path: Path, photo_tree) -> None:
    oil = unicodedata.normalize("NFD", "Öl")
    _, space = scan(photo_tree(tmp_path, {oil: 1, "Papier": 1}), None)
    assert space.names == (oil, "Papier")

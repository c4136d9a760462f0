"""A tree of class folders is read as people mean it, and whatever is wrong with it is named."""

from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path

import pytest

from streetlab.data.index.labels import CLEANLINESS
from streetlab.data.index.scan import scan_class_folders
from streetlab.errors import UserError

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


def test_an_empty_class_is_named(tmp_path: Path, photo_tree) -> None:
    photo_tree(tmp_path, SPLIT_TREE | {"val/medium": 0})
    for photo in (tmp_path / "val" / "litter").iterdir():
        photo.unlink()
    assert f"{tmp_path / 'val' / 'litter'}: empty class" in complaint(tmp_path)


@pytest.mark.parametrize("space", [CLEANLINESS, None], ids=["label space", "folder names"])
def test_a_class_missing_in_one_split_is_named_with_the_split(tmp_path: Path, photo_tree, space) -> None:
    tree = {place: count for place, count in SPLIT_TREE.items() if place != "val/litter"}
    found = complaint(photo_tree(tmp_path, tree), space)
    assert str(tmp_path / "val") in found
    assert "no folder for class litter" in found.replace("Litter", "litter")
    assert "found clean, medium" in found


def test_an_unknown_class_folder_names_the_nearest_class(tmp_path: Path, photo_tree) -> None:
    found = complaint(photo_tree(tmp_path, SPLIT_TREE | {"train/litterr": 1}))
    assert f"{tmp_path / 'train' / 'litterr'}: no class of 'cleanliness' (Clean, Medium, Litter)" in found
    assert "did you mean 'litter'?" in found


def test_a_missing_split_folder_is_named(tmp_path: Path, photo_tree) -> None:
    tree = {place: count for place, count in SPLIT_TREE.items() if not place.startswith("val")}
    assert "has test, train but no val folder" in complaint(photo_tree(tmp_path, tree))


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

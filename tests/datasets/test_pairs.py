"""Images and masks find each other as people name them, and whatever has no partner is named."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from streetlab.datasets.content import HIDDEN, LOSSY, NO_IMAGE, NO_SPLIT, PassedOver
from streetlab.datasets.pairs import Pair, scan_camvid, scan_mask_folder
from streetlab.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def scan(root: Path, images: str = "images", masks: str = "masks", mask_suffix: str = "") -> list[Pair]:
    return scan_mask_folder(root, "dataset.root", images, masks, mask_suffix)


def complaint(root: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        scan(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_match_without_their_suffix_in_folders_of_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "images/a/b.c/1.2.JPG", "masks/a/b.c/1.2.png", "images/2.webp", "masks/2.tif")
    pairs = scan(tmp_path)
    assert [(pair.id, pair.split) for pair in pairs] == [("2.webp", None), ("a/b.c/1.2.JPG", None)]
    assert pairs[1].image == tmp_path / "images/a/b.c/1.2.JPG"
    assert pairs[1].mask == tmp_path / "masks/a/b.c/1.2.png"


def test_files_of_the_system_and_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "images/.DS_Store", "masks/._1.png", "masks/__MACOSX/1.png",
          "masks/readme.txt", "images/Thumbs.db", "masks/1.jpg")  # fmt: skip
    assert [pair.id for pair in scan(tmp_path)] == ["1.jpg"]


def test_split_folders_may_have_either_of_their_usual_names(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/1.jpg", "images/Validation/2.jpg", "masks/training/1.png", "masks/val/2.png")
    assert [(pair.id, pair.split) for pair in scan(tmp_path)] == [("Validation/2.jpg", "val"), ("train/1.jpg", "train")]


def test_some_of_the_split_folders_are_enough_and_others_beside_them_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/1.jpg", "masks/train/1.png")
    assert [pair.split for pair in scan(tmp_path)] == ["train"]
    touch(tmp_path, "images/TEST/2.jpg", "masks/testing/2.png", "images/more/3.jpg", "images/more/4.jpg")
    passed = PassedOver()
    pairs = scan_mask_folder(tmp_path, "dataset.root", "images", "masks", "", passed)
    assert [(pair.id, pair.split) for pair in pairs] == [("TEST/2.jpg", "test"), ("train/1.jpg", "train")]
    assert (passed.counts, passed.first) == ({NO_SPLIT: 2}, {NO_SPLIT: str(tmp_path / "images/more/3.jpg")})


def test_a_folder_called_like_a_split_beside_others_is_a_group_of_images(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/1.jpg", "images/tram/2.jpg", "masks/train/1.png", "masks/tram/2.png")
    assert [(pair.id, pair.split) for pair in scan(tmp_path)] == [("train/1.jpg", None), ("tram/2.jpg", None)]


@pytest.mark.parametrize(("images", "masks"), [("Images", "MASKS"), ("images", "labels"), ("IMAGES", "Labels")])
def test_images_and_masks_are_found_in_any_case_as_labels_and_below_split_folders(tmp_path, images, masks) -> None:
    touch(tmp_path / "flat", f"{images}/1.jpg", f"{masks}/1.png")
    assert [(pair.id, pair.split) for pair in scan(tmp_path / "flat")] == [("1.jpg", None)]
    touch(tmp_path / "deep", *(f"{split}/{name}" for split in ("train", "valid") for name in
          (f"{images}/1.jpg", f"{masks}/1.png")))  # fmt: skip
    assert [(pair.id, pair.split) for pair in scan(tmp_path / "deep")] == [
        (f"train/{images}/1.jpg", "train"), (f"valid/{images}/1.jpg", "val")
    ]  # fmt: skip


def test_images_and_masks_are_known_by_their_bytes_and_all_other_files_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png", "images/.DS_Store", "masks/1.jpg", "masks/notes.txt")
    for place in ("images/2024.06", "masks/2024.06"):
        Image.new("L", (2, 2)).save(tmp_path / place, format="PNG")
    passed = PassedOver()
    pairs = scan_mask_folder(tmp_path, "dataset.root", "images", "masks", "", passed)
    assert [(pair.id, pair.mask.name) for pair in pairs] == [("1.jpg", "1.png"), ("2024.06", "2024.06")]
    assert passed.counts == {HIDDEN: 1, LOSSY: 1, NO_IMAGE: 1}


def test_those_without_a_partner_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/1.jpg", "images/train/2.jpg", "images/val/3.jpg", "masks/train/1_m.png")
    touch(tmp_path, "masks/val/3_m.png")
    assert complaint(tmp_path, mask_suffix="_m") == (
        f"dataset.root: no mask for 1 of 2 images (first {tmp_path}/images/train/2.jpg; expected masks/train/2_m.png)"
    )
    touch(tmp_path, "masks/train/2_m.png", "masks/train/4_m.png", "masks/train/5_m.png")
    assert complaint(tmp_path, mask_suffix="_m") == (
        f"dataset.root: no image for 2 of 4 masks (first {tmp_path}/masks/train/4_m.png; "
        "expected images/train/4.jpg or .png)"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/1.jpg", "images/1.png", "masks/1.png"], "1.jpg and 1.png differ in their suffix alone"),
        (["images/1.txt", "masks/1.png"], "images holds no images"),
        (["images/1.jpg", "masks/train/1.png", "masks/val/1.png"], "masks has split folders, but "),
        (["images/val/1.jpg", "images/train/2.jpg", "masks/1.png"], "images has a train folder, but "),
        (["images/val/1.jpg", "images/valid/1.jpg", "images/train/2.jpg", "masks/1.png"],
         "images has val and valid; which one is val?"),
        (["masks/1.png"], "dataset.images: "),
    ],
)  # fmt: skip
def test_trees_that_could_mean_two_things_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    assert message in complaint(touch(tmp_path, *files))


def test_a_root_that_is_not_there_or_a_file_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "yard/images/1.jpg", "file")
    assert complaint(tmp_path / "yart").startswith(f"dataset.root: no folder {tmp_path}/yart; did you mean 'yard'?")
    assert "is a file, not a folder" in complaint(tmp_path / "file")


def test_a_closed_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> None:  # as root, chmod closes nothing
        raise PermissionError(13, "Permission denied", str(path))

    touch(tmp_path, "images/1.jpg", "masks/1.png")
    monkeypatch.setattr(Path, "iterdir", closed)
    assert complaint(tmp_path) == f"dataset.root: no permission to look into {tmp_path}/images"


def test_camvids_recordings_are_groups(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        touch(tmp_path, f"{split}/Seq05VD_f00000.png", f"{split}annot/Seq05VD_f00000.png")
    assert [pair.group for pair in scan_camvid(tmp_path, "dataset.root")] == ["Seq05VD"] * 3


def test_an_image_and_its_mask_may_be_spelled_in_two_unicode_forms(tmp_path: Path) -> None:
    image, mask = (unicodedata.normalize(form, "straße_ü") for form in ("NFC", "NFD"))
    (pair,) = scan(touch(tmp_path, f"images/{image}.jpg", f"masks/{mask}.png"))
    assert (pair.id, pair.mask) == (f"{image}.jpg", tmp_path / "masks" / f"{mask}.png")
    tree = touch(tmp_path / "suffix", f"images/a_{image}.jpg", f"masks/a_{image}_{mask}.png")
    (pair,) = scan(tree, mask_suffix=f"_{image}")
    assert pair.id == f"a_{image}.jpg"


def test_two_images_that_differ_in_their_unicode_form_alone_are_named_and_refused(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "ü") for form in ("NFC", "NFD"))
    said = complaint(touch(tmp_path, f"images/{one}.jpg", f"images/{other}.jpg", f"masks/{one}.png"))
    assert "differ in the Unicode form of their names alone" in said
    assert one in said
    assert other in said


def test_an_image_whose_name_is_not_utf_8_has_an_id_that_is_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\r")
    (pair,) = scan(touch(tmp_path, f"images/{name}.jpg", f"masks/{name}.png"))
    assert (pair.id, pair.image) == ("caf\\xe9\r.jpg", tmp_path / "images" / f"{name}.jpg")

"""Cityscapes reads the same from its folders and its zips, and a wrong root says which folder was expected."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.cityscapes import Cityscapes
from streetlab.datasets.files import content_hash
from streetlab.datasets.labels import CITYSCAPES, to_label_ids
from streetlab.datasets.splits import write_split
from streetlab.errors import UserError
from streetlab.loading.cache import open_cache

SPLITS = ("train", "val", "test")
FRAMES = {
    "train": ["aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "bad-honnef/bad-honnef_000000_000005"],
    "val": ["frankfurt/frankfurt_000000_000294", "frankfurt/frankfurt_000000_000576"],
    "test": ["berlin/berlin_000000_000019"],
}


def write_tree(root: Path, kinds: tuple[str, ...] = ("labelIds",)) -> Path:
    """The published layout with 64x32 frames; the other published files lie there as well."""
    random = np.random.default_rng(0)
    for split, stems in FRAMES.items():
        for stem in stems:
            image = root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png"
            truth = root / "gtFine" / split / f"{stem}_gtFine"
            for path in (image, truth):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(image)
            label_ids = random.integers(0, 34, (32, 64), dtype=np.uint8)
            train_ids = np.full(256, 255, np.uint8)
            train_ids[list(CITYSCAPES.file_ids)] = range(19)
            for kind in kinds:
                values = label_ids if kind == "labelIds" else train_ids[label_ids]
                Image.fromarray(values).save(f"{truth}_{kind}.png")
            Image.fromarray(label_ids.astype(np.uint16) * 1000).save(f"{truth}_instanceIds.png")
            Image.fromarray(np.dstack([label_ids] * 3)).save(f"{truth}_color.png")
            Path(f"{truth}_polygons.json").write_text("{}")
    return root


def zipped(root: Path, target: Path) -> Path:
    """The two official zips of an unpacked tree."""
    target.mkdir()
    for top in ("leftImg8bit", "gtFine"):
        with zipfile.ZipFile(target / f"{top}_trainvaltest.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("license.txt", "...")
            for path in sorted((root / top).rglob("*")):
                file.write(path, path.relative_to(root).as_posix())
    return target


def cityscapes(root: Path, **options) -> Cityscapes:
    return Cityscapes(**({"name": "cityscapes", "root": root, "cache_dir": root.parent / "cache"} | options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "cityscapes")


def test_ids_and_groups_are_those_of_the_recordings(root: Path) -> None:
    source = cityscapes(root)
    assert [len(source.samples(split)) for split in SPLITS] == [3, 2, 1]
    assert [sample.id for split in SPLITS for sample in source.samples(split)] == [
        f"{split}/{stem}" for split in SPLITS for stem in FRAMES[split]
    ]
    groups = [sample.group for split in SPLITS for sample in source.samples(split)]
    assert groups == ["aachen_000000", "aachen_000001", "bad-honnef_000000", "frankfurt_000000", "frankfurt_000000",
                      "berlin_000000"]  # fmt: skip
    cities = [source.recording(sample) for split in SPLITS for sample in source.samples(split)]
    assert cities == ["aachen", "aachen", "bad-honnef", "frankfurt", "frankfurt", "berlin"]


def test_numbers_come_from_val_since_the_truth_of_test_is_withheld(root: Path) -> None:
    source = cityscapes(root)
    assert source.eval_split == "val"
    assert [sample.mask_path for sample in source.samples("test")] == [None]
    assert source.read(source.samples("test")[0]).size == (64, 32)
    for top in ("leftImg8bit", "gtFine"):
        shutil.rmtree(root / top / "test")
    assert cityscapes(root).samples("test") == []


def test_a_split_file_deals_train_and_val_also_from_the_zips_and_leaves_the_withheld_out(root: Path) -> None:
    zips = zipped(root, root.parent / "zips")
    known = [sample for split in ("train", "val") for sample in cityscapes(zips).samples(split)]
    splits = dict(zip((sample.id for sample in known), ("test", "val", "train", "train", "test"), strict=True))
    entries = {content_hash(sample.path): {"split": splits[sample.id]} for sample in known}
    write_split(root.parent / "split.json", entries, 0)
    for tree in (root, zips):
        source = cityscapes(tree, split_file=root.parent / "split.json")
        assert {sample.id: split for split in SPLITS for sample in source.samples(split)} == splits
        assert source.eval_split == "test"
        assert all(source.read_pair(sample)[1].any() for sample in source.samples("test"))


def test_label_ids_become_the_nineteen_train_ids_and_all_else_is_ignored(root: Path) -> None:
    source = cityscapes(root)
    for sample in (*source.samples("train"), *source.samples("val")):
        mask = source.read_pair(sample)[1]
        values = np.asarray(Image.open(sample.mask_path))  # type: ignore[arg-type]
        for value in range(34):
            wanted = CITYSCAPES.file_ids.index(value) if value in CITYSCAPES.file_ids else 255
            assert (mask[values == value] == wanted).all()


@pytest.mark.parametrize("mask_files", ["labelIds", "labelTrainIds"])
def test_the_zips_hold_what_the_folders_hold(tmp_path: Path, mask_files: str) -> None:
    root = write_tree(tmp_path / "folders", ("labelIds", "labelTrainIds"))
    folders = cityscapes(root, mask_files=mask_files)
    zips = cityscapes(zipped(root, tmp_path / "zips"), mask_files=mask_files)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "leftImg8bit_trainvaltest.zip").symlink_to(tmp_path / "zips" / "leftImg8bit_trainvaltest.zip")
    shutil.copytree(root / "gtFine", mixed / "gtFine_trainvaltest" / "gtFine")
    for other in (zips, cityscapes(mixed, mask_files=mask_files)):
        assert other.split_hash() == folders.split_hash()
        assert other.label_space == folders.label_space == CITYSCAPES
        for split in ("train", "val"):
            for one, two in zip(folders.samples(split), other.samples(split), strict=True):
                for a, b in zip(folders.read_pair(one), other.read_pair(two), strict=True):
                    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
                assert folders.content_hashes([one]) == other.content_hashes([two])


def test_both_kinds_of_mask_files_give_the_same_masks(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "cityscapes", ("labelIds", "labelTrainIds"))
    by_kind = [cityscapes(root, mask_files=kind) for kind in ("labelIds", "labelTrainIds")]
    for one, two in zip(*(source.samples("val") for source in by_kind), strict=True):
        np.testing.assert_array_equal(by_kind[0].read_pair(one)[1], by_kind[1].read_pair(two)[1])


def test_the_cache_decodes_from_the_zips_in_many_threads(root: Path, tmp_path: Path) -> None:
    cached = [
        open_cache(cityscapes(place, cache_dir=tmp_path / f"cache{number}"), "train", (16, 32))
        for number, place in enumerate((root, zipped(root, tmp_path / "zips")))
    ]
    for what in ("images", "masks"):
        np.testing.assert_array_equal(getattr(cached[0], what), getattr(cached[1], what))


def test_train_ids_go_back_to_the_label_ids_that_the_benchmark_takes(root: Path) -> None:
    source = cityscapes(root)
    for sample in source.samples("val"):
        values = np.asarray(Image.open(sample.mask_path))  # type: ignore[arg-type]
        found = to_label_ids(source.read_pair(sample)[1])
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, np.where(np.isin(values, CITYSCAPES.file_ids), values, 0))


def complaint(root: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        cityscapes(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_root_one_level_off_is_told_where_the_right_one_is(root: Path) -> None:
    expected = "does not hold leftImg8bit and gtFine, or leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
    for wrong, found in (
        (root / "leftImg8bit", "test, train, val"),
        (root / "gtFine" / "train", "aachen, bad-honnef"),
        (root.parent, "cityscapes"),
    ):
        message = complaint(wrong, cache_dir=root.parent.parent / "cache")
        assert message == f"dataset.root: {wrong} {expected} (found {found}); did you mean dataset.root={root}?"


def test_a_root_elsewhere_says_what_was_expected_and_found(root: Path, tmp_path: Path) -> None:
    assert "did you mean 'cityscapes'?" in complaint(tmp_path / "cityscape")
    (tmp_path / "a" / "b" / "leftimg8bit").mkdir(parents=True)
    message = complaint(tmp_path / "a" / "b")
    assert message.endswith("(found leftimg8bit); did you mean 'leftimg8bit'?")
    shutil.rmtree(root / "gtFine")
    (root / "gtCoarse").mkdir()
    message = complaint(root)
    assert "has images but no masks: neither gtFine nor gtFine_trainvaltest.zip" in message
    assert message.endswith("(found gtCoarse, leftImg8bit)")


@pytest.mark.parametrize(("there", "asked"), [("labelIds", "labelTrainIds"), ("labelTrainIds", "labelIds")])
def test_the_other_kind_of_mask_files_is_pointed_to(tmp_path: Path, there: str, asked: str) -> None:
    message = complaint(write_tree(tmp_path / "cityscapes", (there,)), mask_files=asked)
    assert f"has no masks gtFine/train/<city>/*_gtFine_{asked}.png" in message
    assert message.endswith(f"there are *_gtFine_{there}.png: say dataset.mask_files={there}")
    assert "did you mean 'labelIds'?" in complaint(tmp_path / "cityscapes", mask_files="labelids")


def test_an_image_without_mask_and_a_mask_without_image_are_counted_and_named(root: Path) -> None:
    frame = root / "leftImg8bit" / "val" / f"{FRAMES['val'][0]}_leftImg8bit.png"
    frame.rename(root / "kept.png")
    assert complaint(root) == (
        f"dataset.root: no image for 1 of 2 masks (first {root}/gtFine/val/{FRAMES['val'][0]}_gtFine_labelIds.png; "
        f"expected leftImg8bit/val/{FRAMES['val'][0]}_leftImg8bit.png)"
    )
    (root / "kept.png").rename(frame)
    first, second, _ = FRAMES["train"]
    for stem in (first, second):
        (root / "gtFine" / "train" / f"{stem}_gtFine_labelIds.png").unlink()
    assert complaint(root) == (
        f"dataset.root: no mask for 2 of 3 images (first {root}/leftImg8bit/train/{first}_leftImg8bit.png; "
        f"expected gtFine/train/{first}_gtFine_labelIds.png)"
    )
    shutil.rmtree(root / "leftImg8bit" / "train")
    assert "has no images leftImg8bit/train/<city>/*_leftImg8bit.png" in complaint(root)


def test_a_cut_download_is_named(root: Path, tmp_path: Path) -> None:
    zips = zipped(root, tmp_path / "zips")
    archive = zips / "gtFine_trainvaltest.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    assert "gtFine_trainvaltest.zip is damaged or no zip" in complaint(zips)

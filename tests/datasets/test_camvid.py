"""CamVid is read as SegNet published it, in its own classes or among those of Cityscapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.camvid import CamVid
from streetlab.datasets.everything import Everything
from streetlab.datasets.labels import CAMVID, CITYSCAPES
from streetlab.datasets.splits import write_split
from streetlab.errors import UserError
from streetlab.io.files import file_sha256

SPLITS = ("train", "val", "test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, split in enumerate(SPLITS):
        for folder in (split, f"{split}annot"):
            (tmp_path / "camvid" / folder).mkdir(parents=True)
        for frame in range(2):
            stem = f"000{number}TP_00{frame}"
            values = np.arange(12, dtype=np.uint8)[None].repeat(4, 0)
            Image.new("RGB", (12, 4), (frame, number, 0)).save(tmp_path / "camvid" / split / f"{stem}.jpg")
            Image.fromarray(values).save(tmp_path / "camvid" / f"{split}annot" / f"{stem}.png")
    return tmp_path / "camvid"


def camvid(root: Path, **options) -> CamVid:
    return CamVid(**({"name": "camvid", "root": root, "cache_dir": root.parent / "cache"} | options))


def test_frames_lie_in_their_splits_and_recordings(root: Path) -> None:
    source = camvid(root)
    assert [sample.id for sample in source.samples("val")] == ["val/0001TP_000.jpg", "val/0001TP_001.jpg"]
    assert {sample.group for sample in source.samples("val")} == {"0001TP"}
    assert {source.recording(sample) for sample in source.samples("val")} == {"0001TP"}
    assert source.eval_split == "test"
    assert source.label_space == CAMVID


def test_a_split_file_and_folds_take_the_place_of_the_folders(root: Path, tmp_path: Path) -> None:
    every = [sample for split in SPLITS for sample in camvid(root).samples(split)]
    for number, sample in enumerate(every):
        Image.new("RGB", (12, 4), (40 * number, 0, 0)).save(sample.path)
    entries = {file_sha256(sample.path): {"split": "test", "group": "g"} for sample in every}
    moved = dict(zip((sample.id for sample in every), ("val", "train", None), strict=False))
    for sample in every[:3]:
        entries[file_sha256(sample.path)]["split"] = moved[sample.id]
    write_split(tmp_path / "split.json", entries, 0)
    source = camvid(root, split_file=tmp_path / "split.json")
    found = {sample.id: split for split in SPLITS for sample in source.samples(split)}
    assert found == {sample.id: moved.get(sample.id, "test") for sample in every if moved.get(sample.id, "test")}
    assert source.split_file is not None
    recordings = {sample.group for sample in every}
    assert {source.recording(sample) for sample in source.samples("test")} <= recordings
    together = Everything(camvid(root))
    assert {together.recording(sample) for sample in together.samples("test")} == recordings
    with pytest.raises(UserError, match=r"^dataset\.split_file: no file .*nowhere\.json"):
        camvid(root, split_file=tmp_path / "nowhere.json")

    folds = [camvid(root, folds=3, fold=fold) for fold in range(3)]
    tested = [{source.recording(sample) for sample in source.samples("test")} for source in folds]
    assert sorted(name for names in tested for name in names) == sorted({sample.group for sample in every})


def test_its_classes_become_those_of_cityscapes_as_msegs_do(root: Path) -> None:
    source = camvid(root, labels="cityscapes")
    assert source.label_space == CITYSCAPES
    mask = source.read_pair(source.samples("train")[0])[1]
    names = [
        "sky",
        "building",
        "pole",
        "road",
        "sidewalk",
        "vegetation",
        "traffic sign",
        "fence",
        "car",
        "person",
        "rider",
    ]
    assert mask[0].tolist() == [*(CITYSCAPES.names.index(name) for name in names), 255]


def test_single_classes_of_that_mapping_can_be_changed(root: Path) -> None:
    source = camvid(root, labels="cityscapes", map={"Bicyclist": "bicycle", "sign symbol": None})
    mask = source.read_pair(source.samples("train")[0])[1]
    assert (mask[0, 10], mask[0, 6], mask[0, 5]) == (CITYSCAPES.names.index("bicycle"), 255, 8)


def complaint(root: Path) -> str:
    with pytest.raises(UserError) as error:
        camvid(root, cache_dir=root.parents[2] / "cache")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_root_one_level_off_is_told_where_the_right_one_is(root: Path) -> None:
    for wrong in (root.parent, root / "train"):
        assert complaint(wrong).endswith(f"; did you mean dataset.root={root}?")


def test_a_missing_folder_is_named_with_those_that_are_there(root: Path) -> None:
    (root / "valannot").rename(root / "val_annot")
    assert complaint(root) == (
        f"dataset.root: {root} does not hold train, trainannot, val, valannot, test, testannot "
        "(found test, testannot, train, trainannot, val, val_annot); did you mean 'val_annot'?"
    )


def test_an_image_without_mask_and_a_mask_without_image_are_counted_and_named(root: Path) -> None:
    shutil.copy(root / "val" / "0001TP_000.jpg", root / "val" / "0001TP_009.jpg")
    assert complaint(root) == (
        f"dataset.root: no mask for 1 of 3 images (first {root}/val/0001TP_009.jpg; expected valannot/0001TP_009.png)"
    )
    (root / "val" / "0001TP_009.jpg").unlink()
    (root / "train" / "0000TP_000.jpg").unlink()
    assert complaint(root) == (
        f"dataset.root: no image for 1 of 2 masks (first {root}/trainannot/0000TP_000.png; "
        "expected train/0000TP_000.jpg or .png)"
    )


def test_an_empty_split_is_named(root: Path) -> None:
    for path in (*(root / "test").iterdir(), *(root / "testannot").iterdir()):
        path.unlink()
    assert complaint(root) == f"dataset.root: {root}/test holds no images"


def test_the_real_data_set_is_the_published_one(shared_data, tmp_path: Path) -> None:
    root = shared_data("camvid")
    source = CamVid("camvid", root, tmp_path)
    assert [len(source.samples(split)) for split in SPLITS] == [367, 101, 233]
    assert len(source.label_space) == 11
    ids = [sample.id for split in SPLITS for sample in source.samples(split)]
    assert len(set(ids)) == 701
    assert {sample.group for split in SPLITS for sample in source.samples(split)} <= {
        "0001TP", "0006R0", "0016E5", "Seq05VD"
    }  # fmt: skip
    seen: set[int] = set()
    for split in SPLITS:
        for sample in source.samples(split)[::25]:
            photo, mask = source.read_pair(sample)
            assert photo.size == mask.shape[::-1] == (480, 360)
            seen |= set(np.unique(mask).tolist())
    assert seen == {*range(11), 255}

"""Images and masks of one's own: matched by name, split once, in the classes that were written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.mask_trees import SPLIT_TREE, write_tree

from streetlab.datasets.labels import CAMVID, CITYSCAPES, categorical_palette
from streetlab.datasets.mask_folder import MaskFolder
from streetlab.datasets.splits import write_split
from streetlab.errors import UserError
from streetlab.io.files import file_sha256

SPLITS = ("train", "val", "test")


def folder(root: Path, **options) -> MaskFolder:
    settings = {"name": "yard", "root": root, "cache_dir": root.parent / "cache", "classes": ["road", "sky"]}
    return MaskFolder(**(settings | options))


def contents(source: MaskFolder) -> dict[str, set[str]]:
    return {split: set(source.content_hashes(source.samples(split))) for split in SPLITS}


def complaint(root: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        folder(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    source = folder(write_tree(tmp_path / "yard", SPLIT_TREE))
    assert [len(source.samples(split)) for split in SPLITS] == [4, 2, 3]
    sample = source.samples("test")[1]
    assert (sample.id, sample.group) == ("test/b/1.bmp", "test/b/1.bmp")
    assert sample.mask_path == tmp_path / "yard" / "masks" / "test" / "b" / "1.png"
    photo, mask = source.read_pair(sample)
    assert photo.size == (6, 4)
    np.testing.assert_array_equal(mask, np.asarray(Image.open(sample.mask_path)))


def test_without_a_test_folder_numbers_come_from_val(tmp_path: Path) -> None:
    source = folder(write_tree(tmp_path / "yard", {"training": 3, "valid": 2}))
    assert source.eval_split == "val"
    assert [len(source.samples(split)) for split in SPLITS] == [3, 2, 0]
    assert folder(write_tree(tmp_path / "yard", {"test": 1})).eval_split == "test"


def test_without_split_folders_a_split_is_drawn_once_and_kept_by_contents(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "yard", {"a": 12, "bcd": 8})
    source = folder(root)
    assert [len(source.samples(split)) for split in SPLITS] == [14, 3, 3]
    before = contents(source)
    (file,) = (tmp_path / "cache" / "splits").iterdir()
    assert len(json.loads(file.read_text())["photos"]) == 20
    for top, suffix in (("images", "bmp"), ("masks", "png")):
        (root / top / "a").rename(root / top / "renamed")
        (root / top / "renamed" / f"0.{suffix}").rename(root / top / "renamed" / f"z.{suffix}")
    assert contents(folder(root)) == before
    assert contents(folder(root, cache_dir=tmp_path / "cache2")) == before
    assert contents(folder(root, split_seed=1)) != before
    assert contents(folder(root, split_seed=1, split_file=file)) == before


def test_folds_cover_every_image_and_groups_and_splits_come_from_a_split_file(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE)
    tested = [folder(root, folds=3, fold=fold).samples("test") for fold in range(3)]
    assert sorted(sample.id for part in tested for sample in part) == sorted(
        sample.id for split in SPLITS for sample in folder(root).samples(split)
    )
    digests = {sample.id: file_sha256(sample.path) for part in tested for sample in part}  # type: ignore[arg-type]
    photos = {digest: {"split": "val", "group": id_[-5]} for id_, digest in digests.items()}  # by their number
    photos[digests["test/b/2.bmp"]]["split"] = None
    write_split(tmp_path / "split.json", photos, 0)
    source = folder(root, split_file=tmp_path / "split.json")
    assert [len(source.samples(split)) for split in SPLITS] == [0, 8, 0]
    assert {sample.group for sample in source.samples("val")} == {"0", "1", "2", "3"}
    assert source.split_file_sha256 == file_sha256(tmp_path / "split.json")


def test_an_image_that_cannot_be_read_leaves_with_its_mask(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "yard", {"a": 8})
    (root / "images/a/5.bmp").unlink()
    (root / "images/a/5.bmp").symlink_to(tmp_path / "nowhere")
    source = folder(root, on_error="skip")
    pairs = {(s.path.stem, s.mask_path.stem) for split in SPLITS for s in source.samples(split)}  # type: ignore[union-attr]
    assert pairs == {(name, name) for name in "0123467"}


def test_too_few_images_to_split_are_counted(tmp_path: Path) -> None:
    assert complaint(write_tree(tmp_path / "yard", {"a": 2})) == (
        f"dataset.root: {tmp_path}/yard: the data set has 2 groups of photos (copies are one); a split needs at least 3"
    )


def test_masks_with_a_suffix_are_found_also_beside_their_images(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE, mask_suffix="_mask")
    (root / "masks" / "train" / "a" / "0_color.png").write_bytes(b"another kind of file")
    wanted = contents(folder(root, mask_suffix="_mask"))
    for mask in list((root / "masks").rglob("*.png")):
        mask.rename(root / "images" / mask.relative_to(root / "masks"))
    (root / "images" / "train" / "a" / "0_color.png").unlink()
    assert contents(folder(root, masks="images", mask_suffix="_mask")) == wanted
    assert sum(map(len, wanted.values())) == 9


def test_classes_with_values_and_further_values_to_ignore(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE, values=(7, 23, 4, 255))
    source = folder(root, classes={"road": 7, "sky": 23}, ignore=[4], palette=[[1, 2, 3], [4, 5, 6]])
    assert source.label_space.names == ("road", "sky")
    assert source.label_space.palette == ((1, 2, 3), (4, 5, 6))
    assert folder(root, classes={"road": 7, "sky": 23}).label_space.palette == categorical_palette(2)
    sample = source.samples("train")[0]
    values = np.asarray(Image.open(sample.mask_path))  # type: ignore[arg-type]
    wanted = np.select([values == 7, values == 23], [0, 1], 255)
    np.testing.assert_array_equal(source.read_pair(sample)[1], wanted)
    learnt = folder(root, classes={"road": 7, "sky": 23}, ignore=[4], labels="cityscapes")
    assert learnt.label_space == CITYSCAPES
    np.testing.assert_array_equal(learnt.read_pair(sample)[1], np.where(wanted == 1, 10, wanted))


@pytest.mark.parametrize("key", [255, "255"])  # as typed, and as config.yaml gives it back
def test_further_values_stand_for_a_class_and_255_for_one_is_no_longer_ignored(tmp_path: Path, key) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE, values=(0, 4, 255))
    source = folder(root, values={key: "Sky"}, ignore=[4])
    sample = source.samples("train")[0]
    values = np.asarray(Image.open(sample.mask_path))  # type: ignore[arg-type]
    np.testing.assert_array_equal(source.read_pair(sample)[1], np.select([values == 0, values == 255], [0, 1], 255))
    assert source.required_classes == {0, 1}
    assert source.ignored_values([sample]) == {4: int((values == 4).sum())}
    assert source.split_hash() != folder(root, classes={"road": 0, "sky": 1}, ignore=[4]).split_hash()


@pytest.mark.parametrize(
    ("labels", "space", "values"), [("camvid", CAMVID, range(12)), ("cityscapes", CITYSCAPES, range(19))]
)
def test_a_label_space_alone_means_masks_of_its_class_ids(tmp_path: Path, labels: str, space, values) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE, values=values)
    source = folder(root, classes=None, labels=labels)
    assert source.label_space == space
    sample = source.samples("train")[0]
    values = np.asarray(Image.open(sample.mask_path))  # type: ignore[arg-type]
    np.testing.assert_array_equal(source.read_pair(sample)[1], np.where(values == len(space), 255, values))


def test_a_class_is_called_as_it_was_written(tmp_path: Path) -> None:
    names = ["null", "true", "1e3", "007", "NaN", "yes"]
    source = folder(write_tree(tmp_path / "yard", SPLIT_TREE), classes=names)
    assert source.label_space.names == tuple(names)
    assert folder(tmp_path / "yard", classes=[1, 2]).label_space.names == ("1", "2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": None}, "dataset.classes: which classes do the masks hold?"),
        ({"classes": ["road"]}, "dataset.classes: ['road']; there must be at least two"),
        ({"classes": ["road", None]}, "dataset.classes: None is no name of a class: YAML takes null"),
        ({"classes": ["road", True]}, "dataset.classes: True is no name of a class"),
        ({"classes": {"road": 0, 1000.0: 1}}, "dataset.classes: 1000.0 is no name of a class"),
        ({"map": {True: "road"}}, "dataset.map: True is no name of a class"),
        ({"classes": ["road", "Road"]}, "dataset.classes: class road stands there twice"),
        ({"classes": {"road": 1, "sky": 1}}, "dataset.classes: value 1 stands there twice"),
        ({"ignore": [1]}, "dataset.ignore: value 1 stands there twice"),
        ({"classes": {"road": 1, "sky": 300}}, "dataset.classes: sky: 300 is no value of a mask (0 to 254"),
        ({"classes": {"road": 1, "sky": "x"}}, "dataset.classes: sky: 'x' is no value of a mask"),
        ({"classes": {"road": 1, "sky": 255}}, "say 'dataset.values={255: sky}' besides"),
        ({"values": {300: "sky"}}, "dataset.values: 300 is no value of a mask (0 to 255)"),
        ({"values": {9: "skye"}}, "dataset.values: 9: no class 'skye' (road, sky); did you mean 'sky'?"),
        ({"values": {1: "road"}}, "dataset.values: value 1 stands in dataset.classes or dataset.ignore already"),
        ({"ignore": [-1]}, "dataset.ignore: -1 is no value of a mask"),
        ({"palette": [[0, 0, 0]]}, "dataset.palette: 1 colours for 2 classes"),
        ({"palette": [[0, 0], [0, 0, 0]]}, "dataset.palette: [0, 0] is not [red, green, blue], each 0 to 255"),
        ({"labels": "citiscapes"}, "dataset.labels: no label space 'citiscapes' for masks"),
        ({"images": "image"}, "has no folder 'image'; did you mean 'images'? (found images, masks)"),
        ({"masks": "labels"}, "dataset.masks: "),
        ({"split_file": "nowhere.json"}, "dataset.split_file: no file nowhere.json"),
        ({"root": "ROOT/yards"}, "; did you mean 'yard'?"),
        ({"cache_dir": "ROOT/yard/cache"}, "which are never written to"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path: Path, options: dict, message: str) -> None:
    write_tree(tmp_path / "yard", SPLIT_TREE)
    here = {key: Path(value.replace("ROOT", str(tmp_path))) if key in ("root", "cache_dir") else value
            for key, value in options.items()}  # fmt: skip
    assert message in complaint(here.pop("root", tmp_path / "yard"), **here)


def test_a_mask_with_a_value_of_no_class_is_named_when_it_is_read(tmp_path: Path) -> None:
    source = folder(write_tree(tmp_path / "yard", SPLIT_TREE, values=(2,)))
    with pytest.raises(
        Exception, match=r"0\.png: value 2 stands for no class of yard \(24 of 24 pixels; allowed: 0-1, 255"
    ):
        source.read_pair(source.samples("train")[0])

"""A class that is missing from what is trained on is noticed before the first step, and cheaply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.mask_trees import SPLIT_TREE, write_tree

from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.mask_folder import MaskFolder
from streetlab.errors import UserError
from streetlab.loading.cache import CachedSplit, open_cache
from streetlab.loading.coverage import absent_classes, check_classes, check_labels


def opened(source) -> dict[str, CachedSplit]:
    return {split: open_cache(source, split, (32, 32)) for split in ("train", "val")}


def test_classes_of_a_public_label_space_may_be_absent_and_are_named_in_one_line(tmp_path: Path, caplog) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE)
    source = MaskFolder("yard", root, tmp_path / "cache", labels="camvid")
    with caplog.at_level("WARNING", "streetlab"):
        check_classes(source, opened(source))
    (train, val) = caplog.messages
    assert train.startswith("dataset yard: no pixel of pole, road, pavement, ")
    assert "in the 4 masks of train (at 32x32)" in train
    assert "in the 2 masks of val" in val


def test_a_class_that_the_user_wrote_down_must_occur_in_train_and_not_in_val(tmp_path: Path, caplog) -> None:
    root = write_tree(tmp_path / "yard", SPLIT_TREE, values=(0, 3))
    source = MaskFolder("yard", root, tmp_path / "cache", classes={"road": 0, "sky": 3, "kerb": 5})
    with pytest.raises(UserError, match=r"no pixel of kerb in the 4 masks of train .*take it out of dataset\.classes"):
        check_classes(source, opened(source))
    check_classes(source, {"val": opened(source)["val"]})
    assert "no pixel of kerb in the 2 masks of val" in caplog.text


def test_masks_are_read_no_further_than_until_every_class_was_seen(tmp_path: Path) -> None:
    class Counted(np.ndarray):
        chunks = 0

        def __getitem__(self, key):
            Counted.chunks += isinstance(key, slice)
            return super().__getitem__(key)

    source = MaskFolder("yard", write_tree(tmp_path / "yard", SPLIT_TREE), tmp_path / "cache", classes=["a", "b"])
    masks = np.zeros((640, 4, 4), np.uint8)
    masks[70] = 1
    cached = CachedSplit([], masks[..., None], masks.view(Counted), tmp_path)
    assert absent_classes(source, cached) == []
    assert Counted.chunks == 2
    masks[70] = 255
    assert absent_classes(source, cached) == [1]


def test_photos_of_a_class_missing_in_train_stop_before_any_is_decoded(tmp_path: Path, photo_tree) -> None:
    places = {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("clean", "litter")}
    root = photo_tree(tmp_path / "photos", places | {"train/litter": 0})
    with pytest.raises(UserError, match="dataset photos: no photo of litter among the 2 of train; put photos"):
        check_labels(ImageFolder("photos", root, tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()

"""Synthetic streets come with the mask they were drawn with, in the classes of Cityscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.synthetic_cleanliness import SyntheticCleanliness
from streetlab.datasets.synthetic_streets import SyntheticStreets
from streetlab.errors import UserError
from streetlab.loading.cache import open_cache
from streetlab.synthetic import draw_scene

SPLITS = ("train", "val", "test")


def streets(folder: Path, **options) -> SyntheticStreets:
    settings = {"name": "streets", "train": 4, "val": 2, "test": 3, "size": (32, 64), "cache_dir": folder}
    return SyntheticStreets(**(settings | options))


def test_image_and_mask_are_the_scenes_own_and_nothing_is_drawn_ahead(tmp_path: Path) -> None:
    source = streets(tmp_path, first_seed=100, on_device=True)
    assert [sample.id for split in SPLITS for sample in source.samples(split)] == [str(n) for n in range(100, 109)]
    assert list(tmp_path.iterdir()) == []
    assert source.on_device
    assert source.label_space == CITYSCAPES
    for sample in source.samples("val"):
        assert sample.label is None
        scene = draw_scene(int(sample.id), 32, 64)
        photo, mask = source.read_pair(sample)
        np.testing.assert_array_equal(np.asarray(photo), scene.image)
        np.testing.assert_array_equal(mask, scene.mask)
        np.testing.assert_array_equal(np.asarray(source.read(sample)), scene.image)
        assert set(np.unique(mask).tolist()) <= {*range(19), 255}


def test_the_cache_holds_the_drawn_masks(tmp_path: Path) -> None:
    found = open_cache(streets(tmp_path), "test", (32, 64))
    assert found.masks is not None
    for sample, mask in zip(found.samples, found.masks, strict=True):
        np.testing.assert_array_equal(mask, draw_scene(int(sample.id), 32, 64).mask)


def test_another_size_or_seed_is_other_data_and_masks_are_not_taken_for_labels(tmp_path: Path) -> None:
    assert streets(tmp_path).split_hash() != streets(tmp_path, first_seed=9).split_hash()
    sample = streets(tmp_path).samples("val")[0]
    others = (
        streets(tmp_path, size=(40, 64)),
        SyntheticCleanliness(name="c", train=4, val=2, test=3, size=(32, 64), cache_dir=tmp_path),
    )
    assert len({source.fingerprint(sample) for source in (streets(tmp_path), *others)}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, r"dataset\.test: 0 pictures"),
        ({"first_seed": -1}, r"dataset\.first_seed: -1 is below 0"),
        ({"size": [16, 64]}, r"dataset\.size: \[16, 64\] is not \[height, width\] of 32 to 4096 each"),
        ({"size": [64, 5000]}, r"dataset\.size: \[64, 5000\] is not \[height, width\] of 32 to 4096 each"),
    ],
)
def test_impossible_numbers_are_named(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        streets(tmp_path, **options)

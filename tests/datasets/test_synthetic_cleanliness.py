"""Synthetic data sets: no scene in two splits, labels kept, and the cache holds what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets import synthetic_cleanliness
from streetlab.datasets.concat import Concat
from streetlab.datasets.synthetic_cleanliness import SyntheticCleanliness, SyntheticItems
from streetlab.errors import UserError
from streetlab.loading.cache import open_cache
from streetlab.synthetic import ITEM_KINDS, draw_item, draw_scene

SPLITS = ("train", "val", "test")


def scenes(folder: Path, **options) -> SyntheticCleanliness:
    settings = {"name": "scenes", "train": 4, "val": 2, "test": 3, "size": (32, 64), "cache_dir": folder}
    return SyntheticCleanliness(**(settings | options))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seeds: list[int] = []

    def counting(seed: int, *size: int):
        seeds.append(seed)
        return draw_scene(seed, *size)

    monkeypatch.setattr(synthetic_cleanliness, "draw_scene", counting)
    return seeds


def test_no_two_splits_share_a_scene(tmp_path: Path) -> None:
    source = scenes(tmp_path, first_seed=100)
    ids = [sample.id for split in SPLITS for sample in source.samples(split)]
    assert ids == [str(seed) for seed in range(100, 109)]


def test_labels_are_the_scenes_own(tmp_path: Path) -> None:
    source = scenes(tmp_path)
    for split in SPLITS:
        for sample in source.samples(split):
            assert sample.label == draw_scene(int(sample.id), 32, 64).label


def test_the_evidence_for_a_label_is_the_litter_of_its_scene(tmp_path: Path) -> None:
    source = scenes(tmp_path)
    for sample in source.samples("train"):
        evidence = source.evidence(sample)
        assert evidence.shape == (32, 64)
        np.testing.assert_array_equal(evidence, draw_scene(int(sample.id), 32, 64).litter)
    joined = Concat("joined", {"mine": source, "other": scenes(tmp_path, first_seed=100)}, tmp_path)
    for sample, seed in zip(joined.samples("val"), (4, 5, 104, 105), strict=True):
        np.testing.assert_array_equal(joined.evidence(sample), draw_scene(seed, 32, 64).litter)
    items = SyntheticItems(name="items", train=1, val=1, test=1, cache_dir=tmp_path)
    assert items.evidence(items.samples("train")[0]) is None


def test_the_cache_holds_the_drawn_pixels(tmp_path: Path) -> None:
    source = scenes(tmp_path)
    for size in ((32, 64), (16, 16)):
        found = open_cache(source, "val", size)
        for sample, row in zip(found.samples, found.images, strict=True):
            scene = Image.fromarray(draw_scene(int(sample.id), 32, 64).image)
            np.testing.assert_array_equal(row, np.asarray(scene.resize(size[::-1], Image.Resampling.BILINEAR)))


def test_every_scene_is_drawn_once_and_never_again(tmp_path: Path, drawn: list[int]) -> None:
    for _ in range(2):
        source = scenes(tmp_path)
        for split in SPLITS:
            open_cache(source, split, (32, 64))
        assert sorted(drawn) == list(range(9))


def test_scenes_that_memory_does_not_hold_are_drawn_again_and_right(
    tmp_path: Path, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_cleanliness, "_KEPT_BYTES", 2 * 32 * 64 * 3)
    found = open_cache(scenes(tmp_path), "train", (32, 64))
    assert len(drawn) == 9 + 2
    np.testing.assert_array_equal(found.images[3], draw_scene(3, 32, 64).image)


@pytest.mark.parametrize("content", ["", "{}", "[0, 1]"])
def test_a_damaged_file_of_labels_is_drawn_anew(tmp_path: Path, content: str) -> None:
    wanted = list(scenes(tmp_path).samples("train"))
    (file,) = (tmp_path / "scenes").glob("labels-*.json")
    file.write_text(content)
    assert list(scenes(tmp_path).samples("train")) == wanted


def test_another_size_or_seed_is_other_data(tmp_path: Path) -> None:
    hashes = {scenes(tmp_path).split_hash(), scenes(tmp_path, first_seed=9).split_hash()}
    assert len(hashes) == 2
    first = open_cache(scenes(tmp_path), "val", (16, 16)).folder
    assert open_cache(scenes(tmp_path, size=(40, 64)), "val", (16, 16)).folder != first


def test_items_are_labelled_by_what_they_are(tmp_path: Path) -> None:
    source = SyntheticItems(name="items", train=3, val=1, test=1, size=32, cache_dir=tmp_path)
    assert source.label_space.names == tuple(ITEM_KINDS)
    for sample in source.samples("train"):
        pixels, label = draw_item(int(sample.id), 32)
        assert sample.label == label
        np.testing.assert_array_equal(np.asarray(source.read(sample)), pixels)
    with pytest.raises(UserError, match=r"^dataset\.size: 5000 is not the side of a square in pixels, 16 to 4096$"):
        SyntheticItems(name="items", train=3, val=1, test=1, size=5000, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, r"dataset\.test: 0 pictures"),
        ({"train": -5}, r"dataset\.train: -5 pictures"),
        ({"first_seed": -1}, r"dataset\.first_seed: -1 is below 0"),
        ({"size": [16, 64]}, r"dataset\.size: \[16, 64\] is not \[height, width\] of 32 to 4096 each"),
        ({"size": [64, 5000]}, r"dataset\.size: \[64, 5000\] is not \[height, width\] of 32 to 4096 each"),
        ({"size": [64]}, r"dataset\.size: \[64\]"),
    ],
)
def test_impossible_numbers_are_named(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scenes(tmp_path, **options)


def test_an_unwritable_cache_is_noticed_before_minutes_of_drawing(tmp_path: Path, drawn: list[int]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"dataset\.cache_dir: cannot write"):
        scenes(tmp_path / "file").samples("train")
    assert drawn == []

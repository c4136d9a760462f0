"""Joined data sets keep apart who is who, and refuse to be joined where their classes differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from streetlab.config import instantiate
from streetlab.datasets.concat import Concat
from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.mask_folder import MaskFolder
from streetlab.datasets.splits import write_split
from streetlab.datasets.synthetic_streets import SyntheticStreets
from streetlab.errors import UserError
from streetlab.io.files import file_sha256
from streetlab.loading.cache import open_cache

SPLITS = ("train", "val", "test")


def streets(cache: Path, first_seed: int = 0, **options) -> SyntheticStreets:
    counts = {"train": 3, "val": 2, "test": 1}
    return SyntheticStreets(
        **({"name": "s", "cache_dir": cache, "size": (32, 64), "first_seed": first_seed} | counts | options)
    )


def masks(root: Path, splits=("train", "val"), color: int | None = None, **options) -> MaskFolder:
    for number, split in enumerate(splits):
        photo = np.zeros((4, 6, 3), np.uint8) if color is None else np.full((4, 6, 3), 2 * color + number, np.uint8)
        for top, pixels in (("images", photo), ("masks", np.ones((4, 6), np.uint8))):
            (root / top / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / top / split / "a.png")
    settings = {"name": "m", "root": root, "cache_dir": root.parent / "cache", "classes": ["road", "sky"]}
    return MaskFolder(**(settings | {"labels": "cityscapes"} | options))


def test_ids_and_groups_say_where_a_sample_comes_from_and_reading_finds_it_there(tmp_path: Path) -> None:
    one, two = streets(tmp_path), streets(tmp_path, first_seed=100)
    both = Concat("both", {"one": one, "two": two}, tmp_path)
    assert (both.eval_split, both.label_space, both.has_masks) == ("test", CITYSCAPES, True)
    assert [sample.id for sample in both.samples("val")] == ["one/3", "one/4", "two/103", "two/104"]
    assert [sample.group for sample in both.samples("test")] == ["one/5", "two/105"]
    assert [both.recording(sample) for sample in both.samples("test")] == ["", ""]
    for sample, source, own in zip(both.samples("test"), (one, two), ("5", "105"), strict=True):
        (known,) = source.samples("test")
        assert known.id == own
        for a, b in zip(both.read_pair(sample), source.read_pair(known), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert both.read(sample).tobytes() == source.read(known).tobytes()
        assert both.fingerprint(sample) == source.fingerprint(known)
        assert both.content_hashes([sample]) == source.content_hashes([known])


def test_where_one_withholds_its_test_no_test_of_the_others_is_taken_for_the_whole(tmp_path: Path) -> None:
    both = Concat(
        "both", {"streets": streets(tmp_path / "cache"), "mine": masks(tmp_path / "yard")}, tmp_path / "cache"
    )
    assert both.eval_split == "val"
    assert [len(both.samples(split)) for split in SPLITS] == [4, 3, 0]


def test_the_cache_holds_both(tmp_path: Path) -> None:
    both = Concat(
        "both", {"streets": streets(tmp_path / "cache"), "mine": masks(tmp_path / "yard")}, tmp_path / "cache"
    )
    cached = open_cache(both, "val", (16, 32))
    assert [sample.id for sample in cached.samples] == ["streets/3", "streets/4", "mine/val/a.png"]
    assert cached.masks is not None
    assert (cached.masks[2] == CITYSCAPES.names.index("sky")).all()


def test_photos_with_labels_can_be_joined_too(tmp_path: Path, photo_tree) -> None:
    tree = {f"{split}/{name}": 2 for split in SPLITS for name in ("clean", "medium", "litter")}
    sources = {
        key: ImageFolder("p", photo_tree(tmp_path / key, tree), tmp_path / "cache", labels="cleanliness")
        for key in ("near", "far")
    }
    both = Concat("both", sources, tmp_path / "cache")
    assert not both.has_masks
    assert [sample.label for sample in both.samples("test")] == [0, 0, 2, 2, 1, 1] * 2
    assert both.samples("test")[0].id == "near/test/clean/0.png"
    assert both.split_hash() != sources["near"].split_hash()


def test_a_split_file_deals_the_images_of_all_sources(tmp_path: Path) -> None:
    sources = {key: masks(tmp_path / key, color=color) for color, key in enumerate(("near", "far"))}
    both = Concat("both", sources, tmp_path / "cache")
    samples = {sample.id: sample for split in ("train", "val") for sample in both.samples(split)}
    wanted = {"near/train/a.png": "val", "near/val/a.png": "val", "far/train/a.png": "test", "far/val/a.png": "train"}
    write_split(tmp_path / "split.json", {file_sha256(samples[key].path): {"split": wanted[key]} for key in wanted}, 0)
    dealt = Concat("both", sources, tmp_path / "cache", split_file=tmp_path / "split.json")
    assert {sample.id: split for split in SPLITS for sample in dealt.samples(split)} == wanted
    assert dealt.eval_split == "test"
    assert dealt.split_file is not None
    (tested,) = dealt.samples("test")
    assert dealt.read(tested).tobytes() == both.read(samples[tested.id]).tobytes()
    with pytest.raises(UserError, match=r"^dataset\.sources\.drawn: s draws its images; dataset\.split_file"):
        Concat("both", {**sources, "drawn": streets(tmp_path)}, tmp_path / "cache", folds=3, fold=0)


def test_a_fault_inside_names_the_source(tmp_path: Path) -> None:
    missing = {"_target_": "streetlab.datasets.camvid.CamVid", "name": "c", "root": tmp_path / "c", "cache_dir": "c"}
    joined = {"_target_": "streetlab.datasets.concat.Concat", "name": "j", "cache_dir": str(tmp_path / "cache")}
    for options, key in (({}, "root"), ({"folds": 2, "fold": 0}, "folds")):
        node = {**missing, "root": str(missing["root"]), **options}
        config = OmegaConf.create({"dataset": {**joined, "sources": {"mine": node}}})
        with pytest.raises(UserError, match=rf"^dataset\.sources\.mine\.{key}: "):
            instantiate(config.dataset)


@pytest.mark.parametrize(
    ("order", "way"),
    [
        (("streets", "mine"), r"streets has 19 classes \(cityscapes\) and mine has 2 \(yard\); .*"),
        (("mine", "streets"), r"mine has 2 classes \(yard\) and streets has 19 \(cityscapes\); .*"),
    ],
)
def test_different_classes_are_refused_with_what_to_say(tmp_path: Path, order: tuple[str, str], way: str) -> None:
    sources = {"streets": streets(tmp_path / "cache"), "mine": masks(tmp_path / "yard", labels=None)}
    with pytest.raises(UserError, match=f"^dataset.sources: {way}; say dataset.sources.mine.labels=cityscapes$"):
        Concat("both", {key: sources[key] for key in order}, tmp_path / "cache")


def test_masks_and_labels_cannot_be_joined(tmp_path: Path, photo_tree) -> None:
    photos = ImageFolder("p", photo_tree(tmp_path / "p", {"a": 4, "b": 4}), tmp_path / "cache")
    with pytest.raises(UserError, match=r"dataset\.sources: s is for segmentation and p for classification"):
        Concat("both", {"s": streets(tmp_path / "cache"), "p": photos}, tmp_path / "cache")


def test_the_joined_cache_does_not_lie_under_the_data_either(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.cache_dir: .* lies under the photos"):
        Concat("both", {"mine": masks(tmp_path / "yard")}, tmp_path / "yard" / "cache")


@pytest.mark.parametrize(
    ("sources", "message"), [({}, "none; name at least one"), ({"a/b": None}, "'a/b' cannot name")]
)
def test_sources_need_names(tmp_path: Path, sources: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"dataset.sources: {message}"):
        Concat("both", sources, tmp_path)

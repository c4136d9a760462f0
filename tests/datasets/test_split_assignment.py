"""Folds: each photo is tested once, copies and groups lie in one fold, and what cannot be is said in one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.splits import grouped_folds, write_split
from streetlab.errors import UserError

CLASSES = ("clean", "litter", "medium")
SPLITS = ("train", "val", "test")


@pytest.fixture
def tree(tmp_path: Path, photo_tree) -> Path:
    """Split folders of 30 photos; five in train lie in test as well, one of them as another class."""
    root = photo_tree(tmp_path / "photos", {f"{split}/{name}": 5 if split == "train" else 2 for split in SPLITS
                                            for name in CLASSES} | {"train/clean": 8})  # fmt: skip
    for number in range(4):
        shutil.copy(root / f"train/clean/{number}.png", root / f"test/clean/copy_{number}.png")
    shutil.copy(root / "train/clean/4.png", root / "test/litter/copy_4.png")
    return root


def source(root: Path, **options) -> ImageFolder:
    return ImageFolder("photos", root, root.parent / "cache", "cleanliness", **options)


def placed(root: Path, **options) -> dict[str, tuple[str, str, int]]:
    """Id → split, group, label."""
    found = source(root, **options)
    return {s.id: (split, s.group, s.label) for split in SPLITS for s in found.samples(split)}  # type: ignore[misc]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_photo_is_tested_once_and_validates_the_fold_before(tree: Path) -> None:
    by_fold = [placed(tree, folds=4, fold=fold) for fold in range(4)]
    assert all(found.keys() == by_fold[0].keys() for found in by_fold)
    assert len(by_fold[0]) == 35
    for photo in by_fold[0]:
        roles = [found[photo][0] for found in by_fold]
        tests = roles.index("test")
        assert Counter(roles) == {"test": 1, "val": 1, "train": 2}
        assert roles[tests - 1] == "val"


def test_every_fold_tests_every_class_in_equal_shares(tree: Path) -> None:
    totals = Counter(label for _, _, label in placed(tree, folds=4, fold=0).values())
    for fold in range(4):
        tested = Counter(label for split, _, label in placed(tree, folds=4, fold=fold).values() if split == "test")
        assert all(abs(tested[label] - totals[label] / 4) <= 1 for label in totals)


def test_copies_lie_in_one_fold_and_one_group_whatever_their_folder_and_class(tree: Path) -> None:
    found = placed(tree, folds=3, fold=1)
    for number in range(5):
        copy = f"test/clean/copy_{number}.png" if number < 4 else "test/litter/copy_4.png"
        original = f"train/clean/{number}.png"
        assert found[copy][:2] == found[original][:2]
        assert found[copy][1] == digest(tree / original)[:12]


def test_folds_without_a_split_file_warn_of_near_copies(tree: Path, caplog) -> None:
    with caplog.at_level("INFO", "streetlab"):
        source(tree, folds=3, fold=0)
    assert "drew 3 folds of 35 photos" in caplog.text
    assert "streetlab audit" in caplog.text


def test_the_names_and_the_place_of_the_photos_change_no_fold(tree: Path) -> None:
    before = source(tree, folds=3, fold=0)
    contents = {split: set(before.content_hashes(before.samples(split))) for split in SPLITS}
    moved = tree.rename(tree.with_name("moved"))
    for number, path in enumerate(sorted((moved / "train/medium").iterdir())):
        path.rename(path.with_name(f"renamed_{9 - number}.png"))
    after = source(moved, folds=3, fold=0)
    assert contents == {split: set(after.content_hashes(after.samples(split))) for split in SPLITS}
    other = source(moved, folds=3, fold=0, split_seed=1)
    assert contents["test"] != set(other.content_hashes(other.samples("test")))


def audited(tree: Path, folds: int | None = 3) -> Path:
    """A split file with groups of two photos of a class, folds that no draw would give, and one photo left out."""
    photos: dict[str, dict] = {}
    for name in CLASSES:
        files = sorted(path for path in tree.rglob("*.png") if path.parent.name == name)
        for number, path in enumerate(files):
            entry = photos.setdefault(digest(path), {"split": "train", "group": f"{name}-{number // 2}"})
            if folds is not None:
                entry.setdefault("fold", (number // 2) % folds)
    photos[digest(tree / "val/medium/0.png")] = {"split": None, "group": "corrupt"}
    about = {} if folds is None else {"folds": folds}
    write_split(tree.parent / "split.json", photos, 9, **about)
    return tree.parent / "split.json"


def test_the_files_own_folds_are_used_where_it_has_that_many(tree: Path) -> None:
    file = audited(tree)
    entries = json.loads(file.read_text())["photos"]
    for fold in range(3):
        found = placed(tree, split_file=file, folds=3, fold=fold)
        assert len(found) == 34
        assert "val/medium/0.png" not in found
        for photo, (split, group, _) in found.items():
            entry = entries[digest(tree / photo)]
            assert group == entry["group"]
            assert split == {fold: "test", (fold + 1) % 3: "val"}.get(entry["fold"], "train")


@pytest.mark.parametrize("own", [None, 3])
def test_another_number_of_folds_is_drawn_of_the_files_groups_with_its_seed(tree: Path, own: int | None) -> None:
    file = audited(tree, own)
    by_fold = [placed(tree, split_file=file, folds=4, fold=fold, split_seed=5) for fold in range(4)]
    photos = list(by_fold[0])
    groups, labels = [by_fold[0][p][1] for p in photos], [by_fold[0][p][2] for p in photos]
    drawn = grouped_folds(groups, labels, 4, seed=9)
    assert len(photos) == 34
    for fold, found in enumerate(by_fold):
        assert [found[p][0] == "test" for p in photos] == [number == fold for number in drawn]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 5}, r"dataset\.folds: 5 folds, but which one tests\? Say dataset\.fold=0 \(to 4\).*range\(5\)"),
        ({"fold": 2}, r"dataset\.fold: 2 of how many\? Say dataset\.folds=5 too"),
        ({"folds": 5, "fold": 5}, r"dataset\.fold: 5 is not one of 0 to 4"),
        ({"folds": 5, "fold": -1}, r"dataset\.fold: -1 is not one of 0 to 4"),
        ({"folds": 5, "fold": "one"}, r"dataset\.fold: 'one' is not one of 0 to 4"),
        ({"folds": 2, "fold": 0}, r"dataset\.folds: 2 is not null or a number of at least 3"),
        ({"folds": "five", "fold": 0}, r"dataset\.folds: 'five' is not"),
        ({"folds": 10, "fold": 0}, r"dataset\.folds: .*photos: class Medium has 9 groups of photos .*10 folds need at"),
    ],
)
def test_folds_that_cannot_be_are_one_clear_line(tree: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        source(tree, **options)


def splits_of(root: Path, **options) -> dict[str, str]:
    return {name: split for name, (split, _, _) in placed(root, **options).items()}


def without(tree: Path, *splits: str) -> Path:
    for split in splits:
        shutil.rmtree(tree / split)
    return tree


def test_val_is_drawn_of_train_by_contents_where_there_are_train_and_test_and_is_kept(tree: Path, caplog) -> None:
    shutil.copy(without(tree, "val") / "train/clean/0.png", tree / "train/clean/again.png")
    with caplog.at_level("INFO", "streetlab"):
        found = placed(tree)
    assert "has no val folder: drawn of the 19 photos of train" in caplog.text
    assert {name for name, (split, _, _) in found.items() if split == "test"} == {
        path.relative_to(tree).as_posix() for path in (tree / "test").rglob("*.png")
    }
    assert {label for split, _, label in found.values() if split == "val"} == {0, 1, 2}
    assert found["train/clean/0.png"][0] == found["train/clean/again.png"][0]
    (file,) = (tree.parent / "cache" / "splits").iterdir()
    entries = {hashed: entry["split"] for hashed, entry in json.loads(file.read_text())["photos"].items()}
    assert entries == {digest(tree / name): split for name, (split, _, _) in found.items() if split != "test"}
    (tree / "train/medium/0.png").rename(tree / "train/medium/z.png")
    assert splits_of(tree)["train/medium/z.png"] == found["train/medium/0.png"][0]


def test_train_and_val_alone_report_val_or_draw_a_test_where_that_is_asked_for(tree: Path) -> None:
    without(tree, "test")
    reported = source(tree)
    assert (reported.eval_split, len(reported.samples("test"))) == ("val", 0)
    assert not (tree.parent / "cache" / "splits").exists()
    for of, other in (("train", "val"), ("val", "train")):
        drawn = source(tree, test_from=of)
        assert drawn.eval_split == "test"
        assert {sample.label for sample in drawn.samples("test")} == {0, 1, 2}
        assert {sample.id.split("/")[0] for sample in drawn.samples("test")} == {of}
        assert [sample.id for sample in drawn.samples(other)] == [sample.id for sample in reported.samples(other)]
    assert len(source(tree, test_from="val").samples("test")) == 3


def test_train_alone_is_split_as_a_tree_without_split_folders(tree: Path) -> None:
    found = splits_of(without(tree, "val", "test"))
    assert set(found) == {path.relative_to(tree).as_posix() for path in tree.rglob("*.png")}
    assert set(found.values()) == set(SPLITS)


def test_everything_is_tested_where_that_is_asked_for_and_nothing_is_drawn(tree: Path) -> None:
    assert set(splits_of(tree, test_from="all").values()) == {"test"}
    assert not (tree.parent / "cache" / "splits").exists()


@pytest.mark.parametrize("parts", [["val"], ["test"], ["val", "test"], ["train"]])
def test_folds_take_a_tree_of_any_split_folders(tree: Path, parts: list[str]) -> None:
    without(tree, *parts)
    assert len(splits_of(tree, folds=3, fold=0)) == sum(1 for _ in tree.rglob("*.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_from": "test"}, r"dataset\.test_from: 'test' is not null or one of train, val, all"),
        (
            {"test_from": "val"},
            r"dataset\.test_from: val is for a tree of train and val folders alone; .* has test and",
        ),
        ({"test_from": "val", "folds": 3, "fold": 0}, r"dataset\.test_from: val, but dataset\.folds says which"),
    ],
)
def test_a_test_that_cannot_be_drawn_is_one_clear_line(tree: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        source(tree, **options)

"""A split is stratified and keeps groups whole, follows from contents alone, and returns from its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from streetlab.datasets.scan import Photo
from streetlab.datasets.splits import (
    SHARES,
    apply_split,
    grouped_folds,
    grouped_split,
    read_split,
    split_hash,
    write_split,
)
from streetlab.errors import UserError
from streetlab.io.files import file_sha256

NAMES = ("Clean", "Medium", "Litter")
FOLD_SHARES = dict.fromkeys(range(5), 0.2)


def hashes(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


def street_photos(seed: int, singles: float = 0.9, conflicts: float = 0.05) -> tuple[list[str], list[int]]:
    """Groups and labels of 3 x 250 photos: most alone, the others in groups of up to 50, some under other labels."""
    random = np.random.default_rng(seed)
    groups, labels = [], []
    for label in range(3):
        for number in range(250):
            size = 1 if random.random() < singles else int(random.integers(2, 51))
            size = min(size, 250 * (label + 1) - len(groups))
            other = random.random(size) < conflicts
            groups += [f"{label}-{number}"] * size
            labels += np.where(other, random.integers(0, 3, size), label).tolist()
    return groups, labels


def worst_deviation(labels: list[int], parts: list, shares: dict) -> float:
    totals, counts = Counter(labels), Counter(zip(labels, parts, strict=True))
    return max(abs(counts[label, part] / totals[label] - shares[part]) for label in totals for part in shares)


@pytest.mark.parametrize("seed", range(6))
def test_no_group_lies_in_two_splits_and_every_class_is_within_two_points_of_its_shares(seed: int) -> None:
    groups, labels = street_photos(seed)
    assert max(Counter(groups).values()) > 20, "large groups are the point"
    splits, folds = grouped_split(groups, labels, seed), grouped_folds(groups, labels, 5, seed)
    assert len(set(zip(groups, splits, strict=True))) == len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert worst_deviation(labels, splits, SHARES) <= 0.02
    assert worst_deviation(labels, folds, FOLD_SHARES) <= 0.03  # a group of 50 is as large as a class's whole fold


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_no_less_even_than_scikit_learns(seed: int) -> None:
    groups, labels = street_photos(seed, singles=0.7)
    theirs = np.zeros(len(groups), dtype=int)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(groups, labels, groups)
    for fold, (_, tested) in enumerate(folds):
        theirs[tested] = fold
    ours = worst_deviation(labels, grouped_folds(groups, labels, 5, seed), FOLD_SHARES)
    assert ours <= worst_deviation(labels, theirs.tolist(), FOLD_SHARES) + 1e-9


def test_the_order_of_the_images_changes_nothing_and_the_seed_does() -> None:
    groups, labels = street_photos(0)
    order = np.random.default_rng(1).permutation(len(groups))
    mixed = [groups[i] for i in order], [labels[i] for i in order]
    for draw in (grouped_split, lambda *given: grouped_folds(*given[:2], 5, given[2])):
        parts = draw(groups, labels, 0)
        assert [parts[i] for i in order] == draw(*mixed, 0)
        assert parts != draw(groups, labels, 1)


def test_the_split_of_a_seed_is_the_same_on_every_machine_and_version() -> None:
    letters = "".join(split[1] for split in grouped_split(hashes(40), [0] * 40, 0))  # r: train, a: val, e: test
    assert letters == "rraerrerarrrrrrrrrrerrrerrearraarerrrrar"
    pairs = [digest for digest in hashes(10) for _ in range(2)] + hashes(10, "single")
    assert "".join(map(str, grouped_folds(pairs, [0, 1] * 15, 3, 7))) == "000000111122220011221201112022"


def test_images_without_relatives_are_split_to_the_image() -> None:
    labels = [0] * 100 + [1] * 40 + [2] * 20
    counts = Counter(zip(labels, grouped_split(hashes(160), labels, 0), strict=True))
    assert [counts[0, s] for s in SHARES] == [70, 15, 15]
    assert [counts[1, s] for s in SHARES] == [28, 6, 6]
    assert [counts[2, s] for s in SHARES] == [14, 3, 3]


@pytest.mark.parametrize("seed", range(10))
def test_a_class_with_as_few_groups_as_there_are_parts_is_in_each_of_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = hashes(60) + ["a"] * 30 + ["b", "c"] + ["b", "d", "e", "f"]  # class 1 in a, b, c; class 2 in b, d, e, f
    labels = [0] * 60 + [1] * 32 + [2] * 4
    order = random.permutation(len(groups))
    groups, labels = [groups[i] for i in order], [labels[i] for i in order]
    assert len(set(zip(labels, grouped_split(groups, labels, seed), strict=True))) == 9
    assert len(set(zip(labels, grouped_folds(groups, labels, 3, seed), strict=True))) == 9


def test_a_class_of_too_few_groups_is_named() -> None:
    groups, labels = [*hashes(6), "x", "y", "y"], [0] * 6 + [2] * 3
    message = r"class Litter has 2 groups of photos \(copies are one\); a split needs at least 3"
    with pytest.raises(UserError, match=message):
        grouped_split(groups, labels, 0, names=NAMES)
    with pytest.raises(UserError, match=r"class 2 has 2 groups .*; 3 folds need at least 3"):
        grouped_folds(groups, labels, 3, 0)


def test_groups_that_tie_classes_together_so_that_one_must_be_lacking_are_refused() -> None:
    # the lines of the Fano plane: seven classes of three groups each; no dealing gives each class all three parts
    lines = ["abc", "ade", "afg", "bdf", "beg", "cdg", "cef"]
    groups, labels = [g for line in lines for g in line], [n for n, line in enumerate(lines) for _ in line]
    with pytest.raises(UserError, match=r"class \d: its 3 groups of photos hold other classes too"):
        grouped_split(groups, labels, 0)


def test_other_shares_are_met_and_a_share_of_nothing_stays_empty() -> None:
    splits = Counter(grouped_split(hashes(100), [0] * 100, 0, {"train": 0.8, "val": 0.2, "test": 0.0}))
    assert splits == {"train": 80, "val": 20}


def test_a_split_file_gives_back_everything_and_has_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    photos = {
        digest: {"split": split, "group": digest[:12], "fold": number % 3, "label": "Clean"}
        for number, (digest, split) in enumerate(zip(hashes(9), grouped_split(hashes(9), [0] * 9, 4), strict=True))
    }
    write_split(tmp_path / "deep" / "split.json", photos, 4, folds=3, policy="drop")
    write_split(tmp_path / "again.json", dict(reversed(photos.items())), 4, folds=3, policy="drop")
    content = (tmp_path / "deep" / "split.json").read_bytes()
    assert content == (tmp_path / "again.json").read_bytes()
    read = read_split(tmp_path / "deep" / "split.json")
    assert (read.photos, read.seed, read.folds) == (photos, 4, 3)
    assert read.sha256 == hashlib.sha256(content).hexdigest()


def test_a_split_file_from_before_groups_and_folds_is_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"format": "streetlab split 1", "seed": 3, "photos": {"ab": {"split": "val"}}}')
    read = read_split(path)
    assert (read.seed, read.folds, read.photos) == (3, None, {"ab": {"split": "val"}})


def test_a_missing_split_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(UserError, match=r"dataset\.split_file: no file .*spilt\.json; did you mean 'split\.json'\?"):
        read_split(tmp_path / "spilt.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "is no split file"),
        ("[1, 2]", "is no split file"),
        ('{"photos": {}}', "its format is None"),
        ('{"format": "streetlab split 9", "photos": {}}', "its format is 'streetlab split 9'"),
        ('{"format": "streetlab split 1", "photos": {"ab": {"split": "vall"}}}', "did you mean 'val'"),
        ('{"format": "streetlab split 1", "photos": {"ab": "train"}}', "photo ab: split 'train'"),
        ('{"format": "streetlab split 1", "seed": "x", "photos": {}}', "seed 'x' is no number"),
        ('{"format": "streetlab split 1", "folds": 1, "photos": {}}', "folds 1 is no number of at least 2"),
        ('{"format": "streetlab split 1", "photos": {"ab": {"split": null, "group": 7}}}', "group 7 is no name"),
        ('{"format": "streetlab split 1", "photos": {"ab": {"split": "val", "label": ""}}}', "label '' is no name"),
        (
            '{"format": "streetlab split 1", "folds": 3, "photos": {"ab": {"split": "val", "fold": 3}}}',
            "photo ab: fold 3 is not one of 0 to 2",
        ),
        (
            '{"format": "streetlab split 1", "folds": 3, "photos": {"ab": {"split": "val"}}}',
            "photo ab: no fold, but the file has 3 folds",
        ),
        (
            '{"format": "streetlab split 1", "photos": {"ab": {"split": "val", "fold": 0}}}',
            "photo ab: fold 0, but the file does not say how many",
        ),
    ],
)
def test_a_file_that_is_no_split_loses_no_photo_in_silence(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"dataset\.split_file") as error:
        read_split(path)
    assert reason in str(error.value)
    assert str(path) in str(error.value)


def test_a_folder_given_as_split_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_split(tmp_path)


def test_content_hash_is_sha256_as_sha256sum_prints_it(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def placed(tmp_path: Path, entry: dict, names=NAMES) -> Photo:
    write_split(tmp_path / "split.json", {"ab": entry}, 0)
    photos = [Photo("clean/1.png", Path("1.png"), None, 0)]
    return apply_split(photos, ["ab"], read_split(tmp_path / "split.json"), names)[0]


def test_a_photo_takes_split_group_and_label_from_its_entry(tmp_path: Path) -> None:
    photo = placed(tmp_path, {"split": "val", "group": "g"})
    assert (photo.split, photo.group, photo.label) == ("val", "g", 0)
    assert placed(tmp_path, {"split": None, "label": "Litter"}).label == 2


def test_a_label_that_is_no_class_names_the_photo_and_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.json: clean/1\.png: label 'Liter' .*; did you mean 'Litter'\?"):
        placed(tmp_path, {"split": "val", "label": "Liter"})
    with pytest.raises(UserError, match=r"label 'Clean' is no class of the data set \(none: its photos have masks\)"):
        placed(tmp_path, {"split": "val", "label": "Clean"}, names=())


def test_split_hash_notices_every_change_of_split_label_or_photo_and_no_order() -> None:
    entries = [("train", "a.png", "Clean"), ("val", "b.png", "Litter"), ("test", "c.png", "Medium")]
    changed = [
        [("val", "a.png", "Clean"), *entries[1:]],
        [("train", "a.png", "Medium"), *entries[1:]],
        [("train", "z.png", "Clean"), *entries[1:]],
        entries[1:],
    ]
    assert split_hash(entries) == split_hash(entries[::-1])
    assert len({split_hash(entries), *map(split_hash, changed)}) == 5

"""A drawn split is stratified, follows from contents alone, and returns from its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from streetlab.data.index.split import content_hash, read_split, split_hash, stratified_split, write_split
from streetlab.errors import UserError

NAMES = ("Clean", "Medium", "Litter")


def hashes(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


def test_every_class_is_split_seventy_fifteen_fifteen() -> None:
    labels = [0] * 100 + [1] * 40 + [2] * 20
    digests = hashes(160)
    split = stratified_split(digests, labels, 0, NAMES)
    counts = Counter((label, split[digest]) for digest, label in zip(digests, labels, strict=True))
    assert [counts[0, s] for s in ("train", "val", "test")] == [70, 15, 15]
    assert [counts[1, s] for s in ("train", "val", "test")] == [28, 6, 6]
    assert [counts[2, s] for s in ("train", "val", "test")] == [14, 3, 3]


def test_the_split_does_not_depend_on_the_order_of_files() -> None:
    digests, labels = hashes(30), [number % 3 for number in range(30)]
    assert stratified_split(digests, labels, 1, NAMES) == stratified_split(digests[::-1], labels[::-1], 1, NAMES)
    assert stratified_split(digests, labels, 1, NAMES) != stratified_split(digests, labels, 2, NAMES)


def test_the_split_of_a_seed_is_the_same_on_every_machine_and_version() -> None:
    split = stratified_split(hashes(40), [0] * 40, 0, NAMES)
    letters = "".join(split[digest][1] for digest in sorted(split))  # r: train, a: val, e: test
    assert letters == "reaearrrrrearrrrrrerrreaarrarrrrrrerrrrr"


def test_copies_of_a_photo_never_stand_on_both_sides_of_the_split() -> None:
    digests = hashes(20)
    twice = stratified_split(digests + digests[:10], [0] * 30, 0, NAMES)
    assert twice == stratified_split(digests, [0] * 20, 0, NAMES)


def test_copies_in_two_classes_share_a_split_too() -> None:
    digests, others = hashes(20), hashes(10, "other")
    split = stratified_split([*digests, *digests[:2], *others], [0] * 20 + [1] * 12, 0, NAMES)
    assert len(split) == 30  # one entry for each content, whatever its labels


def test_a_class_too_small_to_split_is_named() -> None:
    with pytest.raises(UserError, match="class Litter has 2 distinct photos; a split needs at least three"):
        stratified_split([*hashes(6), *hashes(2, "x"), hashes(2, "x")[0]], [0] * 3 + [1] * 3 + [2] * 3, 0, NAMES)


def test_three_photos_are_enough() -> None:
    assert sorted(stratified_split(hashes(3), [0, 0, 0], 0, NAMES).values()) == ["test", "train", "val"]


def test_a_split_file_gives_back_the_split(tmp_path: Path) -> None:
    split = stratified_split(hashes(9), [0] * 9, 0, NAMES)
    write_split(tmp_path / "deep" / "split.json", split, 0)
    assert {digest: entry["split"] for digest, entry in read_split(tmp_path / "deep" / "split.json").items()} == split


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
    assert content_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


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

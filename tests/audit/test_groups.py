"""Groups hold what belongs together, the same way every time, and films do not become one group."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.audit.duplicates import DuplicatePair, find_duplicates
from streetlab.audit.fingerprints import Fingerprints
from streetlab.audit.groups import group_images


def fingerprints(sha256: list[str | None], **columns) -> Fingerprints:
    """Of images that have hashes and nothing else."""
    count = len(sha256)
    numbers = {
        "phash": np.uint64, "mirrored": np.uint64, "square": np.uint64, "width": np.int32, "height": np.int32,
        "sharpness": np.float32, "brightness": np.float32, "dark_share": np.float32, "bright_share": np.float32,
    }  # fmt: skip
    plain = {name: np.zeros(count, kind) for name, kind in numbers.items()}
    plain |= {"pixels": list(sha256), "format": [None] * count, "high_range": [None] * count, "error": [None] * count}
    return Fingerprints(sha256=sha256, **(plain | {"thumbnails": np.zeros((count, 64, 64), np.uint8)} | columns))


def names(count: int) -> list[str | None]:
    return [f"{number:064x}" for number in reversed(range(count))]


def test_what_is_connected_is_one_group_named_by_its_smallest_hash():
    prints = fingerprints([letter * 64 for letter in "fcbade"])
    duplicates = [
        DuplicatePair(0, 1, "bytes"),
        DuplicatePair(1, 4, "near", 2, 0.95),
        DuplicatePair(2, 3, "near", 4, 0.9),
    ]
    first, second = group_images(prints, duplicates)
    assert (first.members, first.name, first.chain) == ((0, 1, 4), "c" * 12, False)
    assert (second.members, second.name) == ((2, 3), "a" * 12)
    assert first.duplicates == (duplicates[0], duplicates[1])
    assert group_images(prints, []) == []


def test_a_film_is_cut_into_groups_that_are_flagged():
    count = 40
    duplicates = [DuplicatePair(k, k + 1, "near", 2, 0.9 + 0.001 * (k * 7 % 13)) for k in range(count - 1)]
    apart = [DuplicatePair(count, count + 1, "near", 2, 0.99)]
    groups = group_images(fingerprints(names(count + 2)), duplicates + apart, most=10)
    assert max(len(group.members) for group in groups) <= 10
    assert sum(len(group.members) for group in groups) > count / 2
    assert all(group.chain for group in groups[:-1])
    assert groups[-1].members == (count, count + 1)
    assert not groups[-1].chain


def test_the_most_similar_come_together_first():
    duplicates = [DuplicatePair(0, 1, "near", 2, 0.82), DuplicatePair(1, 2, "near", 2, 0.97)]
    (group,) = group_images(fingerprints(names(3)), duplicates, most=2)
    assert (group.members, group.chain) == ((1, 2), True)


def test_exact_copies_come_together_beyond_the_cap():
    duplicates = [DuplicatePair(0, k, "bytes" if k % 2 else "pixels") for k in range(1, 8)] + [
        DuplicatePair(0, 8, "near", 2, 0.99)
    ]
    (group,) = group_images(fingerprints(names(9)), duplicates, most=3)
    assert (group.members, group.chain) == (tuple(range(8)), True)


@pytest.mark.parametrize("seed", range(3))
def test_groups_do_not_depend_on_the_order_of_the_twins(seed):
    random = np.random.default_rng(seed)
    duplicates = {}
    for _ in range(60):
        i, j = sorted(random.choice(50, 2, replace=False).tolist())
        duplicates[i, j] = DuplicatePair(i, j, "near", 2, round(float(random.uniform(0.8, 1)), 2))
    shuffled = [list(duplicates.values())[place] for place in random.permutation(len(duplicates))]
    prints = fingerprints(names(50))
    assert group_images(prints, duplicates.values(), most=6) == group_images(prints, shuffled, most=6)


def test_broken_files_of_the_same_bytes_are_copies_and_other_broken_files_are_not():
    prints = fingerprints(["a" * 64, "b" * 64, "a" * 64, None], pixels=[None] * 4, error=["cut"] * 4)
    assert find_duplicates(prints) == [DuplicatePair(0, 2, "bytes")]


def test_drawn_pictures_are_grouped_by_their_pixels():
    prints = fingerprints([None] * 3, pixels=["e" * 64, "d" * 64, "e" * 64])
    (group,) = group_images(prints, find_duplicates(prints))
    assert (group.members, group.name, group.duplicates[0].kind) == ((0, 2), "e" * 12, "pixels")

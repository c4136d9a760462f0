"""Guarantees of the written split: whole groups, conflicts settled by the policy, missed shares reported."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict

import numpy as np
import pytest

from streetlab.audit.duplicates import DuplicatePair
from streetlab.audit.fingerprints import Fingerprints
from streetlab.audit.groups import Group
from streetlab.audit.images import Images
from streetlab.audit.new_split import draw_split, joined_groups, resolve_conflicts, write
from streetlab.audit.options import Options
from streetlab.datasets.labels import CLEANLINESS
from streetlab.datasets.source import Sample
from streetlab.errors import UserError


def prints(digests, broken=()):
    """Fingerprints of images of which nothing is known but their bytes' hashes."""
    count = len(digests)
    columns = {name: np.zeros(count, np.float32) for name in Fingerprints.__dataclass_fields__}
    columns |= {
        "sha256": list(digests),
        "pixels": [None if image in broken else digest for image, digest in enumerate(digests)],
        "format": [None] * count,
        "high_range": [None] * count,
        "error": ["broken" if image in broken else None for image in range(count)],
    }
    return Fingerprints(**columns)


def digest(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


def made(labels, groups=(), digests=None, sources=None, broken=(), duplicates=()):
    """Images with these labels; `groups` are the members of each group."""
    digests = digests or [digest(image) for image in range(len(labels))]
    samples = [
        Sample(f"{image}.png", label, str(sources[image]) if sources else f"{image}.png")
        for image, label in enumerate(labels)
    ]
    known = [Group(min(digests[m] for m in members)[:12], tuple(members), (), False) for members in groups]
    return Images(CLEANLINESS, samples, ["train"] * len(labels), prints(digests, broken), duplicates, known)


@pytest.mark.parametrize(
    ("policy", "labels", "dropped", "relabelled"),
    [
        ("drop", [0, 0, 2, 1, 1], {0, 1, 2}, set()),
        ("majority", [0, 0, 0, 1, 1], set(), {2}),
        ("keep", [0, 0, 2, 1, 1], set(), set()),
    ],
)
def test_a_policy_settles_the_groups_that_disagree_and_no_others(policy, labels, dropped, relabelled):
    groups = [Group("a", (0, 1, 2), (), False), Group("b", (3, 4), (), False)]
    found = resolve_conflicts(groups, [0, 0, 2, 1, 1], policy)
    assert found.labels == labels
    assert found.dropped == dropped
    assert found.relabelled == relabelled


def test_a_majority_of_two_against_two_is_none_and_dropped():
    found = resolve_conflicts([Group("a", (0, 1, 2, 3, 4), (), False)], [0, 0, 2, 2, 1], "majority")
    assert found.dropped == {0, 1, 2, 3, 4}
    assert not found.relabelled


def test_a_majority_is_written_as_the_label_of_those_that_disagreed():
    images = made([0, 0, 2] + [0, 1, 2] * 10, groups=[(0, 1, 2)])
    split = draw_split(images, Options(conflicts="majority"))
    entries = [split.entries[digest(image)] for image in range(3)]
    assert [entry.get("label") for entry in entries] == [None, None, "Clean"]
    assert len({entry["split"] for entry in entries}) == 1
    assert not any("label" in split.entries[digest(image)] for image in range(3, 33))
    assert any("conflicts=majority" in note for note in split.notes)


def test_files_of_equal_bytes_share_an_entry_also_where_two_labels_are_kept():
    digests = ["a" * 64, "a" * 64, *(digest(image) for image in range(2, 40))]
    images = made([0, 1] + [0, 1] * 19, groups=[(0, 1)], digests=digests)
    split = draw_split(images, Options(conflicts="keep"))
    assert len(split.entries) == 39
    assert split.splits[0] == split.splits[1] == split.entries["a" * 64]["split"]


def test_what_the_data_set_keeps_together_joins_what_looks_the_same():
    images = made([None] * 6, groups=[(1, 2)], sources=["x", "x", "y", "y", "z", "z"])
    names = joined_groups(images)
    smallest = min(digest(image) for image in range(4))
    assert names == [smallest[:12]] * 4 + [min(digest(4), digest(5))[:12]] * 2


def test_broken_images_have_an_entry_that_leaves_them_out():
    images = made([0, 1, 2] * 10, broken=(0, 4), digests=[None, *(digest(image) for image in range(1, 30))])
    split = draw_split(images, Options())
    assert split.entries[digest(4)] == {"split": None, "group": digest(4)[:12]}
    assert len(split.entries) == 29, "a file that cannot be read has no content hash"
    assert split.splits[0] is None
    assert any("cannot be read" in note for note in split.notes)


def random_images(generator, order=None):
    """250 images a class in groups of up to 30, as `made` makes them, in the order given."""
    labels, members = [], []
    for label in range(3):
        left = 250
        while left:
            size = min(left, generator.choice([1] * 12 + [2, 2, 3, 5, 10, 30]))
            members.append(range(len(labels), len(labels) + size))
            labels += [label] * size
            left -= size
    group_of = {image: number for number, group in enumerate(members) for image in group}
    order = list(range(len(labels))) if order is None else order(len(labels))
    groups = defaultdict(list)
    for place, image in enumerate(order):
        groups[group_of[image]].append(place)
    kept = [tuple(places) for places in groups.values() if len(places) > 1]
    return made([labels[image] for image in order], kept, [digest(image) for image in order])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_is_divided_and_every_class_has_its_share(seed):
    images = random_images(random.Random(seed))
    split = draw_split(images, Options(seed=seed))
    for group in images.groups:
        assert len({split.splits[member] for member in group.members}) == 1
        assert len({split.folds[member] for member in group.members}) == 1
    for row in split.table:
        assert row.shares == pytest.approx((0.7, 0.15, 0.15), abs=0.02)
    assert sorted(set(split.folds.values())) == [0, 1, 2, 3, 4]
    assert split.notes == ()


def test_the_file_is_the_same_whatever_the_order_of_the_images(tmp_path):
    written = []
    for name, order in (("a", None), ("b", lambda count: random.Random(9).sample(range(count), count))):
        images = random_images(random.Random(4), order)
        write(tmp_path / name, draw_split(images, Options(seed=3)), Options(seed=3), "x")
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_shares_that_large_groups_forbid_are_told():
    images = made([0] * 100, groups=[tuple(range(60)), tuple(range(60, 90))])
    (note,) = draw_split(images, Options(folds=None)).notes
    assert "cannot be met within 2 points" in note
    assert "in val instead of 15%" in note or "in train instead of 70%" in note or "in test instead of 15%" in note
    assert "12 groups, the largest of 60" in note


def test_near_copies_that_the_cap_keeps_apart_are_told():
    duplicates = [DuplicatePair(image, image + 1, "near", 2, 0.9) for image in range(0, 90, 2)]
    together = made([0] * 90, groups=[(image, image + 1) for image in range(0, 90, 2)], duplicates=duplicates)
    assert not any("near copies" in note for note in draw_split(together, Options()).notes)
    apart = made([0] * 90, duplicates=duplicates)
    assert any("pairs of near copies lie in different splits" in note for note in draw_split(apart, Options()).notes)


def test_images_without_files_are_one_line():
    with pytest.raises(UserError, match="drawn, not files"):
        draw_split(made([0, 1, 2], digests=[None, None, None]), Options())

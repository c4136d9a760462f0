"""The images of a data set with their measurements and their groups of duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from streetlab.audit.duplicates import DuplicatePair
from streetlab.audit.fingerprints import Fingerprints
from streetlab.audit.groups import Group
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.source import DataSource, Sample


@dataclass(frozen=True, eq=False)
class Images:
    """The images of all splits as columns, in the order of the splits; an image is named by its index.

    Attributes:
        label_space: the data set's classes.
        samples, splits: of each image.
        prints: what was measured.
        duplicates: the pairs that show the same.
        groups: of two and more images that show the same.
    """

    label_space: LabelSpace
    samples: Sequence[Sample]
    splits: Sequence[str]
    prints: Fingerprints
    duplicates: Sequence[DuplicatePair] = ()
    groups: Sequence[Group] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def labels(self) -> list[int | None]:
        """The class of each image; None where pixels have classes."""
        return [sample.label for sample in self.samples]

    def label_name(self, image: int) -> str:
        """The name of an image's class; empty where pixels have classes."""
        label = self.samples[image].label
        return "" if label is None else self.label_space.names[label]

    def labels_in(self, group: Group) -> list[int]:
        """The distinct classes in a group, ascending."""
        return sorted({label for member in group.members if (label := self.labels[member]) is not None})

    def splits_in(self, group: Group) -> list[str]:
        """The splits that a group lies in, in the order train, val, test."""
        there = {self.splits[member] for member in group.members}
        return [split for split in SPLITS if split in there]

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """The group of each image that is in one."""
        return {member: group for group in self.groups for member in group.members}

    @cached_property
    def contents(self) -> list[str | None]:
        """Content of each image that exact copies share: its pixels, or its bytes where it does not decode."""
        return [pixels or digest for pixels, digest in zip(self.prints.pixels, self.prints.sha256, strict=True)]

    @cached_property
    def exact_copies(self) -> list[tuple[int, ...]]:
        """Images of equal bytes or pixels, two and more, in the order of their first."""
        return _equal(self.contents)

    @cached_property
    def byte_copies(self) -> list[tuple[int, ...]]:
        """Images of equal bytes, two and more."""
        return _equal(self.prints.sha256)

    @cached_property
    def near(self) -> dict[int, dict[int, DuplicatePair]]:
        """For each image its near copies, none of them exact, each with the pair that relates them.

        Exact copies of a near copy are near copies as well.
        """
        copies = {member: copy for copy in self.exact_copies for member in copy}
        found: dict[int, dict[int, DuplicatePair]] = defaultdict(dict)
        for pair in sorted(self.duplicates, key=lambda pair: (-pair.similarity, pair.first, pair.second)):
            if pair.kind != "near":
                continue
            for one in copies.get(pair.first, (pair.first,)):
                for other in copies.get(pair.second, (pair.second,)):
                    found[one].setdefault(other, pair)
                    found[other].setdefault(one, pair)
        return dict(found)


def all_samples(source: DataSource) -> tuple[list[Sample], list[str]]:
    """The samples of all splits, and the split of each."""
    pairs = [(sample, split) for split in SPLITS for sample in source.samples(split)]
    return [sample for sample, _ in pairs], [split for _, split in pairs]


def _equal(keys: Sequence[str | None]) -> list[tuple[int, ...]]:
    members: dict[str, list[int]] = defaultdict(list)
    for image, key in enumerate(keys):
        if key is not None:
            members[key].append(image)
    return [tuple(images) for images in members.values() if len(images) > 1]

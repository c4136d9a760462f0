"""Draw a split without leaks: groups of duplicates stay together, label conflicts are settled by the policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.cluster.hierarchy import DisjointSet

from streetlab.audit.groups import Group
from streetlab.audit.images import Images
from streetlab.audit.options import Options
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.splits import grouped_folds, grouped_split, write_split
from streetlab.errors import UserError

CLOSE = 0.02
"""A class's share of a split may differ by so much from what was asked before a note says so."""


@dataclass(frozen=True)
class ClassShare:
    """Counts of one class (empty: all images) in the splits, in the order train, val, test."""

    label: str
    counts: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The counts as shares of the class."""
        return tuple(count / max(1, sum(self.counts)) for count in self.counts)


@dataclass(frozen=True, eq=False)
class NewSplit:
    """Content of split.json.

    Attributes:
        splits: of each image; None: left out.
        folds: of each image; empty where none could be drawn.
        resolution: the labels after the policy.
        entries: by content hash, as `write_split` takes them.
        table: a row for each class and one for all.
        notes: what the reader should know, in sentences.
    """

    splits: list[str | None]
    folds: dict[int, int]
    resolution: Resolution
    entries: dict[str, dict[str, Any]]
    table: tuple[ClassShare, ...]
    notes: tuple[str, ...]


def draw_split(images: Images, options: Options) -> NewSplit:
    """Draw splits and folds such that no group lies in two of them.

    A group joins the images that show the same with those that the data set itself keeps together (the frames of
    one recording). Images that do not decode, and those that the policy drops, are left out.

    Raises:
        UserError: no split can be drawn; the line says why.
    """
    digests = images.prints.sha256
    if not any(digests):
        raise UserError("the images are drawn, not files: they have no content hashes that a split could be written of")
    resolution = resolve_conflicts(images.groups, images.labels, options.conflicts)
    groups = joined_groups(images)
    decoded = images.prints.decoded
    used = [
        image
        for image, digest in enumerate(digests)
        if digest is not None and decoded[image] and image not in resolution.dropped
    ]
    if not used:
        raise UserError("no image is left to split")
    names = [groups[image] for image in used]
    labels = [resolution.labels[image] or 0 for image in used]
    classes = () if images.labels[used[0]] is None else images.label_space.names
    drawn = grouped_split(names, labels, options.seed, options.shares, classes)
    splits: list[str | None] = [None] * len(images)
    for image, split in zip(used, drawn, strict=True):
        splits[image] = split
    notes = []
    folds: dict[int, int] = {}
    if options.folds is not None:
        try:
            folds = dict(zip(used, grouped_folds(names, labels, options.folds, options.seed, classes), strict=True))
        except UserError as error:
            notes.append(f"split.json holds no folds: {error}.")
    table = class_shares(images, splits, resolution)
    notes += _left_out(images, resolution, options.conflicts)
    notes += _uneven(table, options.shares, names)
    notes += _torn(images, splits, options.most)
    entries = _entries(images, splits, folds, groups, resolution)
    return NewSplit(splits, folds, resolution, entries, table, tuple(notes))


def write(path: Path, split: NewSplit, options: Options, name: str) -> None:
    """Write split.json: the same bytes for the same images, seed and policy, wherever the images lie."""
    about: dict[str, Any] = {"dataset": name, "shares": list(options.shares.values()), "conflicts": options.conflicts}
    if split.folds:
        about["folds"] = options.folds
    write_split(path, split.entries, options.seed, **about)


def joined_groups(images: Images) -> list[str]:
    """Assign each image to its group, alone or not, named by 12 hex of the smallest content hash in it.

    Images without a content hash, which no split can hold, are named by their place.
    """
    connected = DisjointSet(range(len(images)))
    first: dict[Hashable, int] = {}
    for group in images.groups:
        for member in group.members[1:]:
            connected.merge(group.members[0], member)
    for image, (sample, digest) in enumerate(zip(images.samples, images.prints.sha256, strict=True)):
        for same in (("source", sample.group), ("bytes", digest)):
            if same[1] is not None:
                connected.merge(image, first.setdefault(same, image))
    smallest: dict[int, str] = {}
    for image, digest in enumerate(images.prints.sha256):
        if digest is not None:
            smallest[connected[image]] = min(digest, smallest.get(connected[image], digest))
    return [smallest.get(connected[image], f"image {image}")[:12] for image in range(len(images))]


def class_shares(images: Images, splits: list[str | None], resolution: Resolution) -> tuple[ClassShare, ...]:
    """Counts of each class in the new splits, and of all images together (the last row)."""
    counts = Counter((resolution.labels[image], split) for image, split in enumerate(splits) if split is not None)
    rows = []
    if any(label is not None for label in images.labels):
        rows = [
            ClassShare(name, tuple(counts[label, split] for split in SPLITS))
            for label, name in enumerate(images.label_space.names)
        ]
    everything = Counter(split for split in splits if split is not None)
    return (*rows, ClassShare("", tuple(everything[split] for split in SPLITS)))


def _left_out(images: Images, resolution: Resolution, policy: str) -> list[str]:
    broken = len(images) - int(images.prints.decoded.sum())
    notes = []
    if broken:
        notes.append(f"{_images(broken)} that cannot be read {_are(broken)} left out.")
    if resolution.dropped:
        count = len(resolution.dropped)
        why = "whose copies carry other labels" if policy == "drop" else "whose copies carry other labels as often"
        notes.append(f"{_images(count)} {why} {_are(count)} left out (conflicts={policy}).")
    if resolution.relabelled:
        count = len(resolution.relabelled)
        notes.append(
            f"{_images(count)} {'takes' if count == 1 else 'take'} the label of most copies (conflicts={policy})."
        )
    return notes


def _uneven(table: tuple[ClassShare, ...], shares: Mapping[str, float], names: list[str]) -> list[str]:
    """A note where a share is missed, with its cause: groups are few, or large."""
    worst = max(
        (abs(share - target), row.label, split, share, target)
        for row in table
        if sum(row.counts)
        for split, share, target in zip(SPLITS, row.shares, shares.values(), strict=True)
    )
    off, label, split, share, target = worst
    if off <= CLOSE:
        return []
    sizes = Counter(names)
    largest = max(sizes.values())
    what = f"{share:.1%} of {label or 'the images'} in {split} instead of {target:.0%}"
    return [
        f"The shares cannot be met within {CLOSE * 100:.0f} points: {what}. "
        f"The images form {len(sizes)} groups, the largest of {largest}, and a group is never divided."
    ]


def _torn(images: Images, splits: list[str | None], most: int) -> list[str]:
    """A note on near copies in different splits: the limit on a group's size has separated them."""
    placed = [(splits[pair.first], splits[pair.second]) for pair in images.duplicates]
    torn = sum(one != other and None not in (one, other) for one, other in placed)
    if not torn:
        return []
    are = "1 pair of near copies lies" if torn == 1 else f"{torn:,} pairs of near copies lie"
    return [f"{are} in different splits, since no group grows beyond {most} images; most= raises the cap."]


def _entries(
    images: Images, splits: list[str | None], folds: Mapping[int, int], groups: list[str], resolution: Resolution
) -> dict[str, dict[str, Any]]:
    """One entry for each content; files of equal bytes share it."""
    entries: dict[str, dict[str, Any]] = {}
    for image, digest in enumerate(images.prints.sha256):
        if digest is None:
            continue
        entry = entries.setdefault(digest, {"split": splits[image], "group": groups[image]})
        if image in folds:
            entry["fold"] = folds[image]
        label = resolution.labels[image]
        if image in resolution.relabelled and label is not None:
            entry["label"] = images.label_space.names[label]
    return entries


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


@dataclass(frozen=True)
class Resolution:
    """The labels after the policy.

    Attributes:
        labels: of each image.
        dropped: the images that are not to be used.
        relabelled: the images whose label is no longer their own.
    """

    labels: list[int | None]
    dropped: frozenset[int]
    relabelled: frozenset[int]


def resolve_conflicts(groups: Sequence[Group], labels: Sequence[int | None], policy: str) -> Resolution:
    """Settle the groups whose members carry different labels.

    Args:
        groups: of images that show the same, be they exact copies or verified near ones.
        labels: of each image.
        policy: `drop` uses none of such a group, `majority` gives all of it the most frequent label (none of it is
            used where two are equally frequent), `keep` leaves everything as it is.
    """
    resolved = list(labels)
    dropped: set[int] = set()
    for group in groups:
        counts = Counter(label for member in group.members if (label := labels[member]) is not None)
        if len(counts) < 2 or policy == "keep":
            continue
        (most, votes), (_, next_votes) = counts.most_common(2)
        if policy == "drop" or votes == next_votes:
            dropped.update(group.members)
            continue
        for member in group.members:
            resolved[member] = most
    relabelled = {image for image, label in enumerate(labels) if resolved[image] != label}
    return Resolution(resolved, frozenset(dropped), frozenset(relabelled))

"""Summarize an audit in numbers and one sentence: findings, and the splits that duplicates lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

import streetlab
from streetlab.audit.findings import KINDS, Finding
from streetlab.audit.images import Images
from streetlab.audit.new_split import NewSplit
from streetlab.audit.options import Options
from streetlab.datasets.scan import SPLITS
from streetlab.metrics.classification import accuracy_ceiling

FORMAT = "streetlab audit 1"


def counts_by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    """The number of findings of each kind that there is, the most serious kind first."""
    counts = Counter(finding.kind for finding in findings)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}


def copies_in_numbers(images: Images, members: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Count the groups of copies, their images, the splits they lie across and their labels.

    Args:
        members: of each group.
    """
    across, conflicting = Counter[str](), Counter[str]()
    for group in members:
        splits = {images.splits[member] for member in group}
        labels = {label for member in group if (label := images.labels[member]) is not None}
        if len(splits) > 1:
            across["+".join(split for split in SPLITS if split in splits)] += 1
        if len(labels) > 1:
            conflicting["+".join(images.label_space.names[label] for label in sorted(labels))] += 1
    return {
        "groups": len(members),
        "images": sum(map(len, members)),
        "across_splits": across.total(),
        "across": dict(sorted(across.items())),
        "conflicting": conflicting.total(),
        "conflicting_labels": dict(sorted(conflicting.items())),
    }


def leaks(images: Images) -> dict[str, dict[str, int]]:
    """For each split the number of its images that have a copy, exact or of any kind, in another split."""
    found = {
        split: {"images": images.splits.count(split), "exact_copy_elsewhere": 0, "any_copy_elsewhere": 0}
        for split in SPLITS
        if split in images.splits
    }
    for groups, key in (
        (images.exact_copies, "exact_copy_elsewhere"),
        ([group.members for group in images.groups], "any_copy_elsewhere"),
    ):
        for group in groups:
            if len({images.splits[member] for member in group}) > 1:
                for member in group:
                    found[images.splits[member]][key] += 1
    return found


def ceiling(images: Images) -> float | None:
    """The best accuracy on all images with one answer per group of copies; None where images have masks, not labels."""
    labels = [label for label in images.labels if label is not None]
    if len(labels) < len(images):
        return None
    groups = [""] * len(images)  # without a name an image stands alone
    for group in images.groups:
        for member in group.members:
            groups[member] = group.name
    return accuracy_ceiling(np.array(labels), groups)


def headline(images: Images) -> str:
    """The most important findings, in plain words."""
    photos = f"{len(images):,} images"
    exact = copies_in_numbers(images, images.byte_copies)
    every = copies_in_numbers(images, [group.members for group in images.groups])
    if not every["groups"]:
        return f"{photos}, no two of them the same."
    near = f"{_groups(every['groups'])} ({every['images']:,} images{_spread(every)})"
    if not exact["groups"]:
        sentence = f"{photos}: {near} of near copies: altered files, or frames that hardly differ."
    else:
        sentence = (
            f"{photos}: {_groups(exact['groups'])} of byte-identical files ({exact['images']:,} files{_spread(exact)})"
        )
        more = every["images"] > exact["images"]
        sentence += f"; with near copies (re-encoded, resized, cropped, mirrored) {near}." if more else "."
    tested = leaks(images).get("test")
    if tested and tested["any_copy_elsewhere"]:
        sentence += (
            f" {tested['any_copy_elsewhere']:,} of {tested['images']:,} test images have a copy in train or val."
        )
    best = ceiling(images)
    if best is not None and best < 1:
        sentence += f" Whoever gives copies one answer is right on at most {best:.1%} of all images."
    return sentence


def summarize(
    name: str,
    images: Images,
    findings: Sequence[Finding],
    options: Options,
    split: NewSplit | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Content of summary.json."""
    return {
        "format": FORMAT,
        "streetlab": streetlab.__version__,
        "dataset": name,
        "task": images.label_space.task,
        "classes": list(images.label_space.names),
        "images": len(images),
        "splits": {there: images.splits.count(there) for there in SPLITS},
        "headline": headline(images),
        "findings": counts_by_kind(findings),
        "copies": {
            "byte_identical": copies_in_numbers(images, images.byte_copies),
            "exact": copies_in_numbers(images, images.exact_copies),
            "all": copies_in_numbers(images, [group.members for group in images.groups]),
        },
        "leaks": leaks(images),
        "accuracy_ceiling": ceiling(images),
        "options": asdict(options),
        "split": None if split is None else split_in_numbers(split, options),
        "notes": list(notes),
    }


def split_in_numbers(split: NewSplit, options: Options) -> dict[str, Any]:
    """The written split in numbers: its counts of each class, and the effect of the policy."""
    return {
        "seed": options.seed,
        "folds": options.folds if split.folds else None,
        "dropped": len(split.resolution.dropped),
        "relabelled": len(split.resolution.relabelled),
        "classes": {
            row.label or "all": {
                there: {"images": count, "share": round(share, 4)}
                for there, count, share in zip(SPLITS, row.counts, row.shares, strict=True)
            }
            for row in split.table
        },
    }


def _spread(numbers: dict[str, Any]) -> str:
    text = f", {_groups(numbers['across_splits'])} across splits" if numbers["across_splits"] else ""
    return text + (f", {numbers['conflicting']} under different labels" if numbers["conflicting"] else "")


def _groups(count: int) -> str:
    return f"{count:,} group{'s' * (count != 1)}"

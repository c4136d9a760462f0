"""Findings about images: one row each, tidy enough to be filtered in a spreadsheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from streetlab.audit.images import Images
from streetlab.audit.options import Thresholds
from streetlab.io import files

KINDS = {
    "label_conflict": "copies under different labels",
    "duplicate_across_splits": "copies in different splits",
    "exact_duplicate": "exact copies",
    "near_duplicate": "near copies",
    "chain": "groups cut at the cap",
    "corrupt": "broken images",
    "corrupt_mask": "broken masks",
    "mask_mismatch": "masks of another size",
    "unknown_values": "masks with unknown values",
    "empty_mask": "masks without a class",
    "missing_class": "classes missing in a split",
    "wrong_extension": "wrong extensions",
    "high_range": "high dynamic range",
    "blurry": "blurry",
    "dark": "dark",
    "over_exposed": "over-exposed",
    "odd_size": "odd sizes",
    "class_imbalance": "classes out of balance",
    "class_frequency": "classes, how frequent",
}
"""Kind → what the table and the page call its findings, the most serious first."""

OF_GROUPS = ("label_conflict", "duplicate_across_splits", "exact_duplicate", "near_duplicate", "chain")
"""Kinds that say how images relate to each other."""

_COUNTS_AS = {"MPO": "JPEG"}  # a JPEG with further pictures behind it, as phones write them


@dataclass(frozen=True)
class Finding:
    """One finding of an audit.

    Attributes:
        kind: a key of `KINDS`.
        id: the image's; empty where the finding is about a class or a group.
        split, label: the image's, or the class that the finding is about.
        group: the name of the image's group; empty where it is in none.
        score: the measure behind the finding; what it measures depends on the kind. None: there is no measure.
        detail: the finding as a sentence.
    """

    kind: str
    id: str
    split: str
    label: str
    group: str
    score: float | None
    detail: str


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Write findings.csv."""
    rows: list[dict[str, Any]] = [asdict(finding) for finding in findings]
    for row in rows:
        row["score"] = None if row["score"] is None else f"{row['score']:.4g}"
    files.write_csv(path, rows, list(Finding.__dataclass_fields__))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by kind, the most serious first, then by group, id and label."""
    rank = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda f: (rank[f.kind], f.group, f.id, f.split, f.label))


def image_findings(images: Images, thresholds: Thresholds) -> list[Finding]:
    """All findings that do not come from masks, unsorted."""
    return [
        *_broken(images),
        *_high_range(images),
        *_copies(images),
        *_across(images),
        *_conflicts(images),
        *_chains(images),
        *_light_and_sharpness(images, thresholds),
        *_sizes(images, thresholds.odd_size),
        *_missing_classes(images),
        *_imbalance(images, thresholds.imbalance),
    ]


def about(images: Images, image: int, kind: str, score: float | None, detail: str) -> Finding:
    """A finding about one image."""
    group = images.group_of.get(image)
    return Finding(
        kind,
        images.samples[image].id,
        images.splits[image],
        images.label_name(image),
        group.name if group else "",
        score,
        detail,
    )


def _broken(images: Images) -> Iterator[Finding]:
    prints = images.prints
    decoded = prints.decoded
    for image, sample in enumerate(images.samples):
        if not decoded[image]:
            yield about(images, image, "corrupt", None, f"cannot be read: {prints.error[image]}")
        elif sample.path is not None and prints.format[image] is not None:
            named, found = _format_of(PurePosixPath(sample.id).suffix), str(prints.format[image])
            if _COUNTS_AS.get(str(named), named) != _COUNTS_AS.get(found, found):
                suffix = PurePosixPath(sample.id).suffix or "without extension"
                yield about(images, image, "wrong_extension", None, f"named {suffix}, but the bytes are {found}")


def _high_range(images: Images) -> Iterator[Finding]:
    for image, curve in enumerate(images.prints.high_range):
        if curve:
            detail = f"its values follow the curve {curve}; they are not converted to sRGB, but taken as stored"
            yield about(images, image, "high_range", None, detail)


def _format_of(suffix: str) -> str | None:
    Image.init()  # before it, Pillow knows its commonest formats only
    return Image.EXTENSION.get(suffix.lower())


def _copies(images: Images) -> Iterator[Finding]:
    digests = images.prints.sha256
    for copies in images.exact_copies:
        for image in copies:
            others = [other for other in copies if other != image]
            same = [other for other in others if digests[other] is not None and digests[other] == digests[image]]
            what = "the same bytes as" if same else "the same pixels, stored otherwise, as"
            detail = f"{what} {_named(images, (same or others)[0])}{_and_more(len(others) - 1)}"
            yield about(images, image, "exact_duplicate", 1.0, detail)
    for image, near in images.near.items():
        nearest, pair = next(iter(near.items()))
        mirrored = "mirrored, " if pair.mirrored else ""
        detail = (
            f"nearly the same as {_named(images, nearest)}: {mirrored}similarity {pair.similarity:.2f}, "
            f"{pair.distance} of 64 bits differ{_and_more(len(near) - 1)}"
        )
        yield about(images, image, "near_duplicate", pair.similarity, detail)


def _across(images: Images) -> Iterator[Finding]:
    """Images whose group is in several splits; the score is the similarity to the copy elsewhere."""
    for image, other, how, score in _apart(images, images.splits):
        yield about(images, image, "duplicate_across_splits", score, f"{how} {_named(images, other)}")


def _conflicts(images: Images) -> Iterator[Finding]:
    """Images whose group carries several labels; the score is the similarity to the one labelled otherwise."""
    for image, other, how, score in _apart(images, images.labels):
        detail = f"{how} {_named(images, other)}, which is labelled {images.label_name(other)}"
        yield about(images, image, "label_conflict", score, detail)


def _apart(images: Images, values: Sequence[object]) -> Iterator[tuple[int, int, str, float | None]]:
    """Each image with a copy of another value: the closest such copy, its relation in words, and the similarity."""
    for group in images.groups:
        for image in group.members:
            others = [other for other in group.members if values[other] != values[image]]
            if others:
                yield image, *_closest(images, image, others)


def _chains(images: Images) -> Iterator[Finding]:
    for group in images.groups:
        if group.chain:
            first = images.samples[group.members[0]].id
            detail = (
                f"{len(group.members)} images, {first} the first; near copies of some of them are kept out, since "
                "the group would have grown beyond the cap"
            )
            yield Finding("chain", "", "", "", group.name, float(len(group.members)), detail)


def _closest(images: Images, image: int, others: list[int]) -> tuple[int, str, float | None]:
    """The closest of the others, its relation to the image in words, and the similarity if it was measured."""
    same = [other for other in others if images.contents[other] == images.contents[image] is not None]
    if same:
        return same[0], "exact copy of", 1.0
    near = images.near.get(image, {})
    close = [other for other in others if other in near]
    if close:
        best = max(close, key=lambda other: near[other].similarity)
        return best, "near copy of", near[best].similarity
    return others[0], "by way of other copies, near copy of", None


def _light_and_sharpness(images: Images, thresholds: Thresholds) -> Iterator[Finding]:
    prints = images.prints
    if not prints.decoded.any():
        return
    median = float(np.median(prints.sharpness[prints.decoded]))
    for image in np.flatnonzero(prints.decoded).tolist():
        sharpness, light = float(prints.sharpness[image]), float(prints.brightness[image])
        white = float(prints.bright_share[image])
        if thresholds.blurry is not None and sharpness < thresholds.blurry * median:
            detail = f"sharpness {sharpness:.0f}, where the median is {median:.0f}"
            yield about(images, image, "blurry", sharpness, detail)
        if thresholds.dark is not None and light < thresholds.dark:
            yield about(images, image, "dark", light, f"mean luminance {light:.2f} (0 black, 1 white)")
        if thresholds.over_exposed is not None and white > thresholds.over_exposed:
            yield about(images, image, "over_exposed", white, f"{white:.0%} of the pixels are nearly white")


def _sizes(images: Images, factor: float | None) -> Iterator[Finding]:
    """Images much larger, smaller, longer or taller than the median; the score is the largest factor."""
    prints = images.prints
    if factor is None or not prints.decoded.any():
        return
    sides = np.stack([prints.width, prints.height], axis=1)[prints.decoded].astype(float)
    measures = np.stack([sides.min(axis=1), sides.max(axis=1), sides[:, 0] / sides[:, 1]], axis=1)
    middle = np.median(measures, axis=0)
    off = np.exp(np.abs(np.log(measures / middle))).max(axis=1)
    usual = f"short side {middle[0]:.0f}, long side {middle[1]:.0f}, width to height {middle[2]:.2f}"
    for image, times in zip(np.flatnonzero(prints.decoded).tolist(), off.tolist(), strict=True):
        if times > factor:
            size = f"{prints.width[image]}x{prints.height[image]}"
            yield about(images, image, "odd_size", times, f"{size}; the medians are: {usual}")


def _missing_classes(images: Images) -> Iterator[Finding]:
    """Classes of photos that a split lacks; for masks see `masks.mask_findings`."""
    for split in dict.fromkeys(images.splits):
        there = [label for label, of in zip(images.labels, images.splits, strict=True) if of == split]
        if None in there:
            continue
        for label in sorted(set(range(len(images.label_space))) - set(there)):
            name = images.label_space.names[label]
            detail = f"no photo of {name} among the {len(there)} of {split}"
            yield Finding("missing_class", "", split, name, "", 0.0, detail)


def _imbalance(images: Images, factor: float | None) -> Iterator[Finding]:
    """Classes far from equally frequent; the score is the class's share of the images."""
    counts = Counter(label for label in images.labels if label is not None)
    if factor is None or not counts:
        return
    names = images.label_space.names
    even = 1 / len(names)
    for label, name in enumerate(names):
        share = counts[label] / counts.total()
        if share * factor < even or share > even * factor:
            detail = f"{counts[label]} of {counts.total()} images ({share:.1%}); equal shares would be {even:.1%}"
            yield Finding("class_imbalance", "", "", name, "", share, detail)


def _named(images: Images, image: int) -> str:
    place = ", ".join(part for part in (images.splits[image], images.label_name(image)) if part)
    return f"{images.samples[image].id} ({place})"


def _and_more(count: int) -> str:
    return f", and {count} more" if count > 0 else ""

"""The HTML page of an audit: groups of copies side by side, sheets of bad photos, classes, the new split."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from streetlab.audit.findings import KINDS, OF_GROUPS, Finding
from streetlab.audit.groups import Group
from streetlab.audit.images import Images
from streetlab.audit.masks import MaskRead, class_pixels
from streetlab.audit.new_split import NewSplit
from streetlab.audit.summary import counts_by_kind, headline
from streetlab.datasets.labels import Color
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.source import DataSource, Sample
from streetlab.io.parallel import in_order
from streetlab.plots.page import inline_jpeg, render

_SIZE = (240, 160)
"""Width and height that a thumbnail fits into."""
_QUALITY = 78
_GROUPS_BYTES = 9_000_000
"""Groups are shown until their thumbnails take so much; the page stays below 15 MB."""
_MOST_MEMBERS = 24
_MOST_PHOTOS = 24
_MOST_LINES = 200
_SHEETS = ("blurry", "dark", "over_exposed", "odd_size")
"""Kinds that are seen in the photo itself."""
_LOWEST_FIRST = ("blurry", "dark")
_OF_CLASSES = ("missing_class", "class_imbalance", "class_frequency")


def audit_page(
    source: DataSource,
    images: Images,
    masks: Sequence[MaskRead | None],
    findings: Sequence[Finding],
    split: NewSplit | None,
    notes: Sequence[str],
) -> str:
    """Render the page as HTML text."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    numbers = {name: number for number, name in enumerate(images.label_space.names)}
    groups = by_seriousness(images)
    place = {sample.id: image for image, sample in enumerate(images.samples)}
    sheets = {kind: _worst(by_kind[kind], kind) for kind in _SHEETS if by_kind[kind]}
    worst = [place[finding.id] for sheet in sheets.values() for finding in sheet]
    members = [member for group in groups for member in group.members[:_MOST_MEMBERS]]
    thumbnails = _thumbnails(source, images, worst, None) | _thumbnails(source, images, members, _GROUPS_BYTES)
    shown = [group for group in groups if all(member in thumbnails for member in group.members[:_MOST_MEMBERS])]
    kinds_of: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        if finding.kind in OF_GROUPS:
            kinds_of[finding.group].add(finding.kind)
    return render(
        "audit.html",
        title=f"Audit of {source.name}",
        headline=headline(images),
        notes=list(notes),
        chips=[
            {"kind": kind, "words": KINDS[kind], "count": count}
            for kind, count in counts_by_kind(findings).items()
            if kind not in _OF_CLASSES
        ],
        splits=[there for there in SPLITS if there in images.splits],
        labels=[] if source.has_masks else [{"number": number, "name": name} for name, number in numbers.items()],
        groups=[_group(images, group, kinds_of[group.name], thumbnails) for group in shown],
        more_groups=len(groups) - len(shown),
        sheets=[
            {
                "kind": kind,
                "words": KINDS[kind],
                "photos": [_photo(images, place[finding.id], finding, thumbnails) for finding in sheet],
                "more": len(by_kind[kind]) - len(sheet),
            }
            for kind, sheet in sheets.items()
        ],
        lists=[
            {
                "kind": kind,
                "words": KINDS[kind],
                "rows": [_line(finding, numbers) for finding in by_kind[kind][:_MOST_LINES]],
                "more": max(0, len(by_kind[kind]) - _MOST_LINES),
            }
            for kind in KINDS
            if by_kind[kind] and kind not in (*OF_GROUPS, *_SHEETS, *_OF_CLASSES)
        ],
        classes=_frequencies(images, masks),
        of_pixels=source.has_masks,
        class_notes=[
            f"{finding.label}: {finding.detail}" for finding in [*by_kind["missing_class"], *by_kind["class_imbalance"]]
        ],
        split_rows=_split_rows(split),
        split_names=SPLITS,
    )


def by_seriousness(images: Images) -> list[Group]:
    """Groups under different labels first, then those across splits, the large before the small."""
    return sorted(
        images.groups,
        key=lambda group: (
            len(images.labels_in(group)) < 2,
            len(images.splits_in(group)) < 2,
            -len(group.members),
            group.name,
        ),
    )


def _worst(findings: Sequence[Finding], kind: str) -> list[Finding]:
    sign = 1 if kind in _LOWEST_FIRST else -1
    return sorted(findings, key=lambda finding: (sign * (finding.score or 0), finding.id))[:_MOST_PHOTOS]


def _thumbnails(source: DataSource, images: Images, wanted: Sequence[int], most: int | None) -> dict[int, str]:
    """Image → its thumbnail as a `data:` address, empty where it does not decode; as many as fit into `most` bytes."""
    by_content: dict[str | None, str] = {}
    found: dict[int, str] = {}
    firsts = {images.contents[image]: image for image in reversed(wanted)}  # exact copies look the same
    order = [image for image in dict.fromkeys(wanted) if firsts[images.contents[image]] == image]
    spent = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = in_order(pool, partial(_thumbnail, source), [images.samples[image] for image in order])
        for image in dict.fromkeys(wanted):
            key = images.contents[image]
            if key not in by_content:
                by_content[key] = next(drawn)
            spent += len(by_content[key])
            if most is not None and spent > most:
                break
            found[image] = by_content[key]
    return found


def _thumbnail(source: DataSource, sample: Sample) -> str:
    try:
        picture = source.read(sample, min(_SIZE)).convert("RGB")
    except Exception:  # why it does not decode stands in the findings
        return ""
    picture.thumbnail(_SIZE, Image.Resampling.LANCZOS)
    return inline_jpeg(picture, _QUALITY)


def _group(images: Images, group: Group, kinds: Iterable[str], thumbnails: dict[int, str]) -> dict[str, Any]:
    labels, splits = images.labels_in(group), images.splits_in(group)
    return {
        "name": group.name,
        "kinds": sorted(kinds),
        "conflict": len(labels) > 1,
        "across": len(splits) > 1,
        "chain": group.chain,
        "splits": splits,
        "labels": labels,
        "count": len(group.members),
        "text": " ".join(images.samples[member].id for member in group.members).lower(),
        "members": [
            _member(images, member, thumbnails[member]) | {"relation": _relation(images, group.members[0], member)}
            for member in group.members[:_MOST_MEMBERS]
        ],
        "more": max(0, len(group.members) - _MOST_MEMBERS),
    }


def _photo(images: Images, image: int, finding: Finding, thumbnails: dict[int, str]) -> dict[str, Any]:
    label = images.labels[image]
    return _member(images, image, thumbnails[image]) | {
        "relation": finding.detail,
        "text": finding.id.lower(),
        "labels": [] if label is None else [label],
    }


def _member(images: Images, image: int, thumbnail: str) -> dict[str, Any]:
    label, prints = images.labels[image], images.prints
    return {
        "id": images.samples[image].id,
        "file": PurePosixPath(images.samples[image].id).name,
        "thumbnail": thumbnail,
        "split": images.splits[image],
        "label": images.label_name(image),
        "color": "" if label is None else _css(images.label_space.palette[label]),
        "size": f"{prints.width[image]} × {prints.height[image]} {prints.format[image] or ''}".strip(),
    }


def _relation(images: Images, first: int, member: int) -> str:
    """Describe the relation of a member to the first of its group."""
    if member == first:
        return ""
    digests = images.prints.sha256
    if digests[member] is not None and digests[member] == digests[first]:
        return "same bytes"
    if images.contents[member] == images.contents[first] is not None:
        return "same pixels"
    pair = images.near.get(first, {}).get(member)
    if pair is None:
        return "a copy of another copy"
    return f"{'mirrored, ' if pair.mirrored else ''}similarity {pair.similarity:.2f}"


def _line(finding: Finding, labels: dict[str, int]) -> dict[str, Any]:
    return {
        "id": finding.id,
        "split": finding.split,
        "detail": finding.detail,
        "text": finding.id.lower(),
        "labels": [labels[finding.label]] if finding.label in labels else [],
    }


def _frequencies(images: Images, masks: Sequence[MaskRead | None]) -> list[dict[str, Any]]:
    """Bars of the classes: share of the images, or of the labelled pixels, and number of images."""
    space = images.label_space
    if masks:
        pixels = class_pixels(images, list(masks))
        totals, having = pixels.sum(axis=0).tolist(), (pixels > 0).sum(axis=0).tolist()
    else:
        totals = [images.labels.count(label) for label in range(len(space))]
        having = totals
    every, most = max(1, sum(totals)), max(1, *totals)
    return [
        {
            "name": name,
            "color": _css(color),
            "share": f"{total / every:.2%}" if masks else f"{total / every:.1%}",
            "width": f"{100 * total / most:.2f}",
            "images": f"{count:,}",
        }
        for name, color, total, count in zip(space.names, space.palette, totals, having, strict=True)
    ]


def _split_rows(split: NewSplit | None) -> list[dict[str, Any]]:
    if split is None:
        return []
    return [
        {
            "label": row.label or "all",
            "cells": [f"{count:,}" for count in row.counts],
            "shares": [f"{share:.1%}" for share in row.shares],
        }
        for row in split.table
    ]


def _css(color: Color) -> str:
    return f"rgb({' '.join(map(str, color))})"

"""Findings about masks: unusable ones, and the frequency of each class."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.audit.findings import Finding, about
from streetlab.audit.images import Images
from streetlab.datasets.decode import UnreadablePhoto, read_mask
from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.source import DataSource, Sample
from streetlab.errors import first_line
from streetlab.io.files import write_json
from streetlab.io.parallel import in_order, reading_pool
from streetlab.progress import track

log = logging.getLogger(__name__)

FORMAT = "streetlab audited masks 2"
_SMALL = 32
"""A JPEG beside its mask need not be decoded in full once it has been measured."""


@dataclass(frozen=True)
class MaskRead:
    """A mask that was read: its fault, or the number of pixels of each class id (255: ignored)."""

    kind: str | None = None
    reason: str = ""
    pixels: Mapping[int, int] | None = None


def read_masks(source: DataSource, images: Images, cache: Path) -> list[MaskRead | None]:
    """Read every mask of the data set in parallel, or take it from `cache` where nothing has changed.

    Returns:
        one for each image; None where the truth is withheld, or the image itself is broken.
    """
    path = cache / f"masks-{source.name}.json"
    kept = _load(path)
    keys = [source.fingerprint(sample) for sample in images.samples]
    sizes = np.stack([images.prints.height, images.prints.width], axis=1).tolist()
    wanted = [
        image
        for image in np.flatnonzero(images.prints.decoded).tolist()
        if images.samples[image].mask_path is not None or source.drawn_when_read
    ]
    kept = {key: kept[key] for image in wanted if (key := keys[image]) in kept}
    missing = [image for image in wanted if keys[image] not in kept]
    with ExitStack() as stack:
        pool = stack.enter_context(reading_pool(source.drawn_when_read, len(missing)))
        if missing:
            stack.callback(lambda: write_json(path, {"format": FORMAT, "masks": kept}))  # Ctrl-C keeps what is done
        jobs = [(images.samples[image], (sizes[image][0], sizes[image][1])) for image in missing]
        results = in_order(pool, partial(_read, source), jobs)
        for image, read in zip(missing, track(results, "reading masks", len(missing)), strict=True):
            kept[keys[image]] = read
    found: list[MaskRead | None] = [None] * len(images)
    for image in wanted:
        kind, reason, pixels = kept[keys[image]]
        found[image] = MaskRead(kind, reason, pixels and {int(number): count for number, count in pixels.items()})
    return found


def _read(source: DataSource, job: tuple[Sample, tuple[int, int]]) -> list[Any]:
    """[kind, reason, pixels] of a mask, as JSON takes them; `size` is (height, width) of its image."""
    sample, size = job
    try:
        if sample.mask_path is not None:
            values = read_mask(sample.mask_path)
            if values.shape != size:
                found, expected = f"{values.shape[1]}x{values.shape[0]}", f"{size[1]}x{size[0]}"
                return ["mask_mismatch", f"its mask is {found}, the image {expected}", None]
    except Exception as error:  # a file can be broken in ways that no list of exceptions foresees
        return ["corrupt_mask", _reason(error, sample), None]
    try:
        ids = source.read_pair(sample, _SMALL)[1]
    except UnreadablePhoto as error:
        return ["unknown_values", _reason(error, sample), None]
    numbers, counts = np.unique(ids, return_counts=True)
    pixels = {str(number): int(count) for number, count in zip(numbers, counts, strict=True)}
    if set(pixels) <= {str(IGNORE_INDEX)}:
        return ["empty_mask", "no pixel of its mask belongs to a class", pixels]
    return [None, "", pixels]


def mask_findings(images: Images, masks: list[MaskRead | None]) -> Iterator[Finding]:
    """Unusable masks, classes that a split lacks, and the frequency of every class, unsorted."""
    for image, mask in enumerate(masks):
        if mask is not None and mask.kind is not None:
            yield about(images, image, mask.kind, None, mask.reason)
    pixels = class_pixels(images, masks)
    names = images.label_space.names
    labelled = int(pixels.sum())
    read = sum(mask is not None and mask.pixels is not None for mask in masks)
    for label, name in enumerate(names):
        having = int((pixels[:, label] > 0).sum())
        share = int(pixels[:, label].sum()) / labelled if labelled else 0.0
        detail = f"{share:.2%} of the labelled pixels, in {having} of {read} masks"
        yield Finding("class_frequency", "", "", name, "", share, detail)
    for split in SPLITS:
        inside = [image for image, mask in enumerate(masks) if mask and mask.pixels and images.splits[image] == split]
        for label in np.flatnonzero(pixels[inside].sum(axis=0) == 0).tolist() if inside else ():
            detail = f"no pixel of {names[label]} in the {len(inside)} masks of {split}{_ignored_share(masks, inside)}"
            yield Finding("missing_class", "", split, names[label], "", 0.0, detail)


def _ignored_share(masks: list[MaskRead | None], inside: list[int]) -> str:
    """`, 40.0% of whose pixels are ignored`; empty where none is."""
    counts = [mask.pixels for image in inside if (mask := masks[image]) is not None and mask.pixels]
    ignored = sum(pixels.get(IGNORE_INDEX, 0) for pixels in counts)
    share = ignored / max(1, sum(sum(pixels.values()) for pixels in counts))
    return f", {share:.1%} of whose pixels are ignored (255 in them, or dataset.ignore)" if ignored else ""


def class_pixels(images: Images, masks: list[MaskRead | None]) -> NDArray[np.int64]:
    """`(N, K)`: number of pixels of each class in each image, without ignored ones."""
    counts = np.zeros((len(images), len(images.label_space)), dtype=np.int64)
    for image, mask in enumerate(masks):
        for number, count in (mask.pixels or {}).items() if mask else ():
            if number < counts.shape[1]:
                counts[image, number] = count
    return counts


def _load(path: Path) -> dict[str, Any]:
    """Load the results of an earlier audit; nothing where they cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        log.warning("%s is damaged and will be made anew", path)
        return {}
    return kept["masks"] if isinstance(kept, dict) and kept.get("format") == FORMAT else {}


def _reason(error: Exception, sample: Sample) -> str:
    return first_line(str(error).removeprefix(f"{sample.mask_path}: "))

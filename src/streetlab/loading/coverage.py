"""Check before the first training step that every class has a photo, or a pixel, in the training data."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from streetlab.datasets.mapping import number_ranges
from streetlab.datasets.source import DataSource, Sample
from streetlab.errors import UserError
from streetlab.loading.cache import CachedSplit

log = logging.getLogger(__name__)

_CHUNK = 64
"""Masks looked at together: most data sets show all their classes in the first few."""
_PHOTO_REMEDY = "put photos of it into train, or take the class's folders away"
_LOOKED_INTO = 8
"""So many mask files are read again to say which values in them are ignored."""


def check_labels(source: DataSource) -> None:
    """Check photos as `check_classes` does, before any is decoded.

    Raises:
        UserError: a class that must not be absent has no photo in train.
    """
    samples = source.samples("train")
    absent = source.required_classes - {sample.label for sample in samples}
    if samples and absent and not source.has_masks:
        raise UserError(f"dataset {source.name}: {_of_photos(source, 'train', len(samples), absent)}; {_PHOTO_REMEDY}")


def check_classes(source: DataSource, opened: Mapping[str, CachedSplit]) -> None:
    """Check that no class is absent from train, and say which are absent from the other splits.

    Classes of a label space that the user did not write down (Cityscapes' on a few photos) may be absent from train,
    which is one warning; photos must have all of their classes, and masks at least one.

    Args:
        opened: the decoded splits, train among them.

    Raises:
        UserError: a class without which no training makes sense has no photo or pixel in train.
    """
    for split, cached in opened.items():
        absent = absent_classes(source, cached)
        if not absent:
            continue
        serious = len(absent) == len(source.label_space) or source.required_classes.intersection(absent)
        ignored = source.ignored_values(_some(cached.samples)) if serious else {}
        line = _line(source, split, cached, absent) + _ignored(ignored)
        if split == "train" and serious:
            raise UserError(f"dataset {source.name}: {line}{_remedy(source, cached, absent, ignored)}")
        log.warning("dataset %s: %s", source.name, line)


def absent_classes(source: DataSource, cached: CachedSplit) -> list[int]:
    """The ids of the classes that no photo of the split has, or no pixel of its masks at the cached size."""
    absent = set(range(len(source.label_space)))
    if cached.masks is None:
        return sorted(absent - {sample.label for sample in cached.samples if sample.label is not None})
    for start in range(0, len(cached.masks), _CHUNK):
        masks = np.asarray(cached.masks[start : start + _CHUNK])
        # a comparison per class runs at the memory's speed, which no histogram does, and few classes stay
        absent -= {label for label in absent if (masks == label).any()}
        if not absent:
            break
    return sorted(absent)


def names_of(source: DataSource, labels: Collection[int]) -> str:
    """The classes' names in a row."""
    return ", ".join(source.label_space.names[label] for label in sorted(labels))


def _line(source: DataSource, split: str, cached: CachedSplit, absent: Sequence[int]) -> str:
    names, count = names_of(source, absent), len(cached.samples)
    if cached.masks is None:
        return _of_photos(source, split, count, absent)
    height, width = cached.masks.shape[1:]
    text = f"no pixel of {names} in the {count} masks of {split} (at {height}x{width})"
    if len(absent) == len(source.label_space):
        text = f"every pixel of the {count} masks of {split} is ignored, none belongs to a class"
    return text


def _of_photos(source: DataSource, split: str, count: int, absent: Collection[int]) -> str:
    return f"no photo of {names_of(source, absent)} among the {count} of {split}"


def _ignored(values: Mapping[int, int]) -> str:
    """`; value 255 in them counts as ignored`; empty where there are no such values."""
    several = len(values) > 1
    numbers = number_ranges(sorted(values))
    return f"; value{'s' * several} {numbers} in them count{'s' * (not several)} as ignored" if values else ""


def _remedy(source: DataSource, cached: CachedSplit, absent: Sequence[int], ignored: Mapping[int, int]) -> str:
    if cached.masks is None:
        return f"; {_PHOTO_REMEDY}"
    if len(absent) == len(source.label_space):
        return "; 'dataset.values={VALUE: CLASS}' says for which class a value stands" if ignored else ""
    if ignored:
        value = max(ignored, key=lambda value: ignored[value])
        name = source.label_space.names[absent[-1]]
        return f". Where {value} stands for {name}, say 'dataset.values={{{value}: {name}}}'"
    return "; take it out of dataset.classes, or put masks that hold it into train"


def _some(samples: Sequence[Sample]) -> Sequence[Sample]:
    """A few of the samples, from first to last."""
    return samples[:: -(-len(samples) // _LOOKED_INTO)]

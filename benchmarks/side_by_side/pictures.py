"""The photos, masks and labels that both sides are given: drawn, or those of a folder."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

from PIL import Image

from streetlab.datasets.labels import CAMVID
from streetlab.progress import track
from streetlab.synthetic import draw_scene

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PHOTO_SIZE = (320, 480)
"""Usual among the original study's photos: their short sides are 320 px."""
STREET_SIZE = (360, 480)
"""CamVid's."""
_CLASSES = (("clean", 0.02), ("medium", 0.10), ("litter", 1.01))
"""Classes of drawn photos by the litter's share of the ground, below these."""


def labelled_photos(folder: Path, photos: Path | None, train: int, val: int) -> Path:
    """So many of the photos of a tree `{train,val,test}/<class>/`, or drawn JPEGs, in such a tree."""
    counts = {"train": train, "val": val, "test": 3}
    if photos is not None:
        for split, count in counts.items():
            for path in spaced(files_below(photos / split), count):
                link(path, folder / path.relative_to(photos))
        return folder
    splits = [split for split, count in counts.items() for _ in range(count)]
    for number, split in enumerate(track(splits, "drawing photos")):
        scene = draw_scene(number, *PHOTO_SIZE)
        label = next(name for name, limit in _CLASSES if scene.litter_share < limit)
        if split == "test":
            label = _CLASSES[number % 3][0]  # each class has one; nobody looks at what they score
        _save(scene.image, folder / split / label / f"{number:05d}.jpg")
    return folder


def masked_photos(folder: Path, train: int, val: int) -> tuple[list[str], dict[str, list[tuple[str, str]]], int]:
    """Drawn streets with their masks.

    Returns:
        words that choose them as streetlab's data, (photo, mask) of train and val, how many classes there are.
    """
    pairs: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    splits = [split for split, count in (("train", train), ("val", val), ("test", 1)) for _ in range(count)]
    for number, split in enumerate(track(splits, "drawing streets")):
        photo, mask = (folder / kind / split / f"{number:05d}" for kind in ("images", "masks"))
        photo, mask = photo.with_suffix(".jpg"), mask.with_suffix(".png")
        scene = draw_scene(number, *STREET_SIZE)
        _save(scene.image, photo)
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.mask).save(mask)
        if split != "test":
            pairs[split].append((str(photo), str(mask)))
    return ["dataset=mask_folder", f"dataset.root={folder}", "dataset.labels=cityscapes"], pairs, 19


def camvid(root: Path, folder: Path, train: int, val: int) -> tuple[list[str], dict[str, list[tuple[str, str]]], int]:
    """The same of CamVid: frames of train and val at equal distances, linked into a tree of that size."""
    pairs: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    for split, count in (("train", train), ("val", val), ("test", 1)):
        for path in spaced(files_below(root / split), count):
            photo = link(path, folder / split / path.name)
            annotation = next((root / f"{split}annot").glob(f"{path.stem}.*"))
            mask = link(annotation, folder / f"{split}annot" / annotation.name)
            if split != "test":
                pairs[split].append((str(photo), str(mask)))
    return ["dataset=camvid", f"dataset.root={folder}"], pairs, len(CAMVID)


def many_photos(folder: Path, count: int, photos: Path | None) -> Path:
    """So many photos in one folder: drawn, or those below `photos`, by further names where there are fewer."""
    if photos is None:
        drawn = [_save(draw_scene(number, *PHOTO_SIZE).image, folder / f"{number:05d}.jpg") for number in range(24)]
        rest = count - len(drawn)
    else:
        drawn, rest = files_below(photos), count
    for number, path in zip(range(rest), itertools.cycle(drawn)):
        link(path, folder / f"{count - rest + number:05d}{path.suffix}")
    return folder


def files_below(folder: Path) -> list[Path]:
    """Its photos in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def spaced(items: list, count: int) -> list:
    """`count` of them at equal distances, or all."""
    return items if len(items) <= count else [items[place * len(items) // count] for place in range(count)]


def link(old: Path, new: Path) -> Path:
    """Another name of a file, or a symbolic link where it lies on another disk."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if not new.exists():
        try:
            os.link(old, new)
        except OSError:
            new.symlink_to(old.resolve())
    return new


def write_pairs(path: Path, pairs: dict[str, list[tuple[str, str]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pairs))
    return path


def _save(pixels: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=92)  # type: ignore[arg-type]
    return path

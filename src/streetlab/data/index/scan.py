"""Finds labelled photos in a tree of one folder per class, with or without split folders above them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streetlab.data.index.labels import LabelSpace, categorical_palette
from streetlab.errors import UserError, did_you_mean

SPLITS = ("train", "val", "test")
_SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val",
                  "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff",
                  ".ppm", ".pgm", ".jp2", ".avif"}  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """One labelled photo: `id` is its path under the root, with forward slashes, on every system."""

    id: str
    path: Path
    split: str | None  # null: the tree has no split folders
    label: int


def scan_class_folders(
    root: Path, key: str, label_space: LabelSpace | None
) -> tuple[list[Photo], LabelSpace]:
    """All photos below `root`, sorted by id.

    Args:
        root: `root/{train,val,test}/<class>/*` or `root/<class>/*`.
        key: the config key that `root` came from, for error messages.
        label_space: the classes that the folders must name (case does not matter); null makes one of the
            folders' names in alphabetical order.

    Raises:
        UserError: no such root, no photos, a folder that is no class, a class that is missing or empty.
    """
    if not root.is_dir():
        near = did_you_mean(root.name, [p.name for p in root.parent.iterdir()]) if root.parent.is_dir() else ""
        raise UserError(f"{key}: no folder {root}{near} (expected {root}/train/<class>/*.jpg or {root}/<class>/*.jpg)")
    folders = {f.name: f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")}
    split_folders = {name: _SPLIT_FOLDERS[name.lower()] for name in folders if name.lower() in _SPLIT_FOLDERS}
    if split_folders:
        missing = set(SPLITS) - set(split_folders.values())
        if missing:
            raise UserError(f"{key}: {root} has {', '.join(split_folders)} but no {' or '.join(sorted(missing))} folder")
        trees: list[tuple[str | None, Path]] = [(split, folders[name]) for name, split in split_folders.items()]
    elif folders:
        trees = [(None, root)]
    else:
        raise UserError(f"{key}: {root} holds no folders (expected one per class, or train, val and test)")

    if label_space is None:
        names = sorted({f.name for _, tree in trees for f in _class_folders(tree)}, key=str.lower)
        label_space = LabelSpace(root.name, "classification", tuple(names), categorical_palette(len(names)))
    photos = [photo for split, tree in trees for photo in _scan_tree(root, tree, split, label_space)]
    return sorted(photos, key=lambda photo: photo.id), label_space


def _class_folders(tree: Path) -> list[Path]:
    return [f for f in sorted(tree.iterdir()) if f.is_dir() and not f.name.startswith(".")]


def _scan_tree(root: Path, tree: Path, split: str | None, label_space: LabelSpace) -> list[Photo]:
    ids = {name.lower(): number for number, name in enumerate(label_space.names)}
    found: dict[int, list[Path]] = {}
    for folder in _class_folders(tree):
        label = ids.get(folder.name.lower())
        if label is None:
            near = did_you_mean(folder.name.lower(), ids)
            raise UserError(f"{folder}: no class of '{label_space.name}' ({', '.join(label_space.names)}){near}")
        files = [f for f in folder.rglob("*") if f.suffix.lower() in PHOTO_SUFFIXES and not f.name.startswith(".")]
        if not files:
            raise UserError(f"{folder}: empty class: no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
        found[label] = files
    absent = [name for number, name in enumerate(label_space.names) if number not in found]
    if absent:
        raise UserError(f"{tree}: no folder for class {', '.join(absent)} (found {_listing(_class_folders(tree))})")
    return [
        Photo(path.relative_to(root).as_posix(), path, split, label)
        for label, files in found.items()
        for path in files
    ]


def _listing(folders: list[Path]) -> str:
    return ", ".join(f.name for f in folders) or "nothing"

"""Find labelled photos in a tree of one folder per class, with or without split folders above them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streetlab.datasets.content import HIDDEN, NO_CLASS, NO_SPLIT, PHOTO_SUFFIXES, PassedOver, reason_to_pass
from streetlab.datasets.labels import LabelSpace, categorical_palette
from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.errors import UserError, did_you_mean
from streetlab.io.archive import File
from streetlab.io.filenames import as_text, fold

log = logging.getLogger(__name__)

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val",
                 "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
_SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}


@dataclass(frozen=True)
class Photo:
    """One labelled photo: `id` is its path under the root as text, with forward slashes, on every system."""

    id: str
    path: File
    split: str | None  # null: the tree has no split folders
    label: int
    group: str | None = None  # photos of one group show the same thing; null: nothing is known


def scan_class_folders(
    root: Path, key: str, label_space: LabelSpace | None, passed: PassedOver | None = None
) -> tuple[list[Photo], LabelSpace]:
    """All photos below `root`, sorted by id.

    Files and folders of the system (hidden ones, `__MACOSX`, `@eaDir`, ...) are passed over; folders inside
    a class folder belong to that class; links are followed. A class may have no photos: who trains checks that.

    Args:
        root: `root/{train,val,test}/<class>/*`, some of these splits, or `root/<class>/*`.
        key: the config key that `root` came from, for error messages.
        label_space: the classes that the folders must name (case and Unicode form do not matter); null makes one of the
            folders' names in alphabetical order.
        passed: takes up the files that are no photos.

    Raises:
        UserError: no such root, no photos, a folder that is no class.
    """
    passed = PassedOver() if passed is None else passed
    check_root(root, key, f"{root}/train/<class>/*.jpg or {root}/<class>/*.jpg")
    try:
        trees = _class_trees(root, key, passed)
        if label_space is None:
            label_space = _named_after_folders(root, key, [tree for _, tree in trees])
        photos = [photo for split, tree in trees for photo in _scan_tree(root, tree, split, label_space, passed)]
    except PermissionError as error:
        raise UserError(f"{key}: no permission to look into {error.filename}") from None
    if not photos:
        reasons = f" ({passed.sentence()})" if passed.counts else ""
        raise UserError(f"{key}: {root} holds no photos in its class folders{reasons}")
    return sorted(photos, key=lambda photo: photo.id), label_space


def check_root(root: Path, key: str, expected: str) -> None:
    """Raise the UserError for a missing folder `root`, with the nearest existing one."""
    if root.is_dir():
        return
    if root.exists():
        raise UserError(f"{key}: {root} is a file, not a folder (expected {expected})")
    there = root.parent
    while not there.is_dir():
        there = there.parent
    if there != root.parent:
        raise UserError(f"{key}: no folder {root} ({there.absolute()} has no '{root.relative_to(there).parts[0]}')")
    names = [p.name for p in there.iterdir() if p.is_dir()] if os.access(there, os.R_OK) else []
    raise UserError(f"{key}: no folder {root}{did_you_mean(root.name, names)} (expected {expected})")


def _class_trees(root: Path, key: str, passed: PassedOver) -> list[tuple[str | None, Path]]:
    """The folders that hold the class folders, each with its split; the root itself where there are none."""
    if not folders_in(root):
        raise UserError(f"{key}: {root} holds no folders (expected one per class, or train, val and test)")
    splits = split_folders(root, passed, of_classes=True)
    if splits:
        _count_files(root, passed)
    return list(splits) or [(None, root)]


def split_folders(parent: Path, passed: PassedOver, of_classes: bool) -> list[tuple[str, Path]]:
    """The folders inside that are splits; none where those called so are classes, or groups of images.

    Folders called like splits are splits where no others lie beside them. With others beside them they are splits
    where there are train and a second one and, of class folders, none holds photos itself; the others are then
    counted in `passed`.

    Args:
        of_classes: splits hold one folder per class, and not images.
    """
    folders = folders_in(parent)
    splits = [(SPLIT_FOLDERS[f.name.lower()], f) for f in folders if f.name.lower() in SPLIT_FOLDERS]
    others = [f for f in folders if f.name.lower() not in SPLIT_FOLDERS]
    if splits and others:
        names = {split for split, _ in splits}
        if "train" not in names or len(names) < 2 or (of_classes and any(_holds_photos(f) for _, f in splits)):
            return []
        for folder in others:
            for path in photos_below(folder):
                passed.add(NO_SPLIT, path)
    return splits


def _holds_photos(folder: Path) -> bool:
    files = (file for file in folder.iterdir() if not is_system(file.name) and not file.is_dir())
    return any(reason_to_pass(file) is None for file in files)


def _count_files(folder: Path, passed: PassedOver) -> None:
    """Count the files directly in a folder whose subfolders are scanned."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            passed.add(HIDDEN if is_system(path.name) else reason_to_pass(path) or NO_CLASS, path)


def _named_after_folders(root: Path, key: str, trees: list[Path]) -> LabelSpace:
    """Classes in alphabetical order; `Cat` in one split and `cat` in another are one class, and so are NFC and NFD."""
    names = {fold(as_text(f.name)): as_text(f.name) for tree in trees for f in folders_in(tree)}
    if len(names) < 2:
        found = _listing(trees[0]) if names else "nothing"
        raise UserError(
            f"{key}: {trees[0]} needs a folder for each of at least two classes (found {found}"
            f"{'; is that the root itself?' if names and trees == [root] else ''})"
        )
    # sorted as they are written: so the classes of earlier runs keep their ids
    ordered = tuple(sorted(names.values(), key=str.lower))
    return LabelSpace(as_text(root.resolve().name), CLASSIFICATION, ordered, categorical_palette(len(ordered)))


def folders_in(parent: Path) -> list[Path]:
    """The folders directly inside, sorted, those of the system passed over."""
    return [f for f in sorted(parent.iterdir()) if f.is_dir() and not is_system(f.name)]


def is_system(name: str) -> bool:
    """Check that a file or folder of that name is the system's: hidden, or left by an archiver or a server."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def photos_below(folder: Path, passed: PassedOver | None = None) -> Iterator[Path]:
    """Every photo in a folder and the folders inside it; a link back up is not walked twice.

    Args:
        passed: takes up the files that are none. Without it photos are known by their names alone, and no file is
            opened.
    """
    seen = set()
    for at, inside, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(at)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = [name for name in inside if not is_system(name)]
        for name in files:
            path, hidden = Path(at, name), is_system(name)
            if not hidden and path.suffix.lower() in PHOTO_SUFFIXES:
                yield path
            elif passed is not None:
                reason = HIDDEN if hidden else reason_to_pass(path)
                if reason is None:
                    yield path
                else:
                    passed.add(reason, path)


def _raise(error: OSError) -> None:
    raise error


def _scan_tree(
    root: Path, tree: Path, split: str | None, label_space: LabelSpace, passed: PassedOver
) -> Iterator[Photo]:
    ids = {fold(name): number for number, name in enumerate(label_space.names)}
    folders: dict[int, str] = {}
    for folder in folders_in(tree):
        label = ids.get(fold(as_text(folder.name)))
        if label is None:
            near = did_you_mean(fold(folder.name), ids)
            classes = ", ".join(label_space.names)
            raise UserError(f"{folder}: no class of '{label_space.name}' ({classes}){near}")
        if label in folders:  # names in two Unicode forms look the same: ASCII tells them apart
            log.warning("%s: %a and %a are one class, %s", tree, folders[label], folder.name, label_space.names[label])
        folders[label] = folder.name
        for path in photos_below(folder, passed):
            yield Photo(as_text(path.relative_to(root).as_posix()), path, split, label)
    _count_files(tree, passed)


def _listing(tree: Path) -> str:
    return ", ".join(f.name for f in folders_in(tree)) or "nothing"


def report_passed(passed: PassedOver, key: str, root: Path) -> None:
    """Log in one line how many files were not taken, and why: a warning where some may be photos."""
    if passed.counts:
        log.log(logging.WARNING if passed.loses_photos else logging.INFO, "%s: %s: %s", key, root, passed.sentence())

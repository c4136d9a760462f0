"""Finds images and their masks on disk, in the layout of CamVid and in a folder of one's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streetlab.data.archive import File
from streetlab.data.index.scan import SPLIT_FOLDERS, SPLITS, check_root, folders_in, photos_below
from streetlab.errors import UserError, did_you_mean
from streetlab.filenames import as_text, encodable

MASK_SUFFIXES = {".png", ".tif", ".tiff", ".bmp", ".gif"}

F = TypeVar("F", bound=File)


@dataclass(frozen=True)
class Pair:
    """One image and its mask.

    Args:
        id: its path under the root as text, with forward slashes, on every system.
        group: images of one group show the same thing.
        split: None where the tree has no split folders.
        mask: None where the truth is withheld.
    """

    id: str
    group: str
    split: str | None
    image: File
    mask: File | None


def scan_camvid(root: Path, key: str) -> list[Pair]:
    """SegNet's version of CamVid: `root/{train,val,test}/*.{jpg,png}` and masks of equal names in `{split}annot`.

    Frames of one recording (what stands before the first `_`) are one group.

    Raises:
        UserError: the root is another folder, a split is empty, an image has no mask or a mask no image.
    """
    wanted = [name for split in SPLITS for name in (split, f"{split}annot")]
    check_root(root, key, f"a folder with {', '.join(wanted)}")
    with permitted(key):
        if any(not (root / name).is_dir() for name in wanted):
            raise wrong_root(root, key, wanted, ("trainannot",))
        pairs = []
        for split in SPLITS:
            folder = root / split
            images = _by_stem(folder, photos_below(folder), key)
            masks = _masks_by_stem(root / f"{split}annot", key)
            if not images:
                raise UserError(f"{key}: {folder} holds no images")
            check_partners(images, masks, key, *_in_folders(f"{split}annot", split))
            pairs += [
                Pair(_id(images[stem], root), _recording(stem), split, images[stem], masks[stem])
                for stem in sorted(images)
            ]
    return pairs


def scan_mask_folder(root: Path, key: str, images: str, masks: str, mask_suffix: str) -> list[Pair]:
    """`root/<images>/**` and `root/<masks>/**`, both with split folders or both without; every image is a group.

    An image and its mask have the same path below these folders but for the ending and Unicode's form: `a/1.jpg`
    and `a/1<mask_suffix>.png`. With a `mask_suffix`, other files among the masks are passed over, and both may lie
    in one folder. Train and val are needed where there are split folders; test is not.

    Raises:
        UserError: no such folder, no images, an image without mask or a mask without image, two of one name.
    """
    check_root(root, key, f"a folder with {images} and {masks}")
    with permitted(key):
        for option, name in (("images", images), ("masks", masks)):
            if not (root / name).is_dir():
                found = [folder.name for folder in folders_in(root)]
                raise UserError(
                    f"dataset.{option}: {root} has no folder '{name}'{did_you_mean(name, found)} "
                    f"(found {listing(found)})"
                )
        image_trees, mask_trees = _split_trees(root / images, key), _split_trees(root / masks, key)
        if None in image_trees and None not in mask_trees:
            raise UserError(f"{key}: {root / masks} has split folders, but {root / images} has none")
        pairs = []
        for split, tree in image_trees.items():
            if split not in mask_trees:
                raise UserError(f"{key}: {root / images} has a {split} folder, but {root / masks} has none")
            found_masks = _masks_by_stem(mask_trees[split], key, mask_suffix)
            files = photos_below(tree)
            if mask_suffix and tree == mask_trees[split]:
                files = (file for file in files if not _nfc(file.stem).endswith(_nfc(mask_suffix)))
            found_images = _by_stem(tree, files, key)
            if not found_images:
                raise UserError(f"{key}: {tree} holds no images")
            below = [folder.relative_to(root).as_posix() for folder in (mask_trees[split], tree)]
            check_partners(found_images, found_masks, key, *_in_folders(below[0], below[1], mask_suffix))
            for stem in sorted(found_images):
                name = _id(found_images[stem], root / images)
                pairs.append(Pair(name, name, split, found_images[stem], found_masks[stem]))
    return pairs


def _split_trees(folder: Path, key: str) -> dict[str | None, Path]:
    """Split → its folder; `{None: folder}` where there are no split folders."""
    trees: dict[str | None, Path] = {}
    for inside in folders_in(folder):
        split = SPLIT_FOLDERS.get(inside.name.lower())
        if split is None:
            continue
        if split in trees:
            raise UserError(f"{key}: {folder} has {trees[split].name} and {inside.name}; which one is {split}?")
        trees[split] = inside
    if trees and not {"train", "val"} <= trees.keys():
        there = ", ".join(tree.name for tree in trees.values())
        raise UserError(f"{key}: {folder} has {there}; it needs train and val, or no split folders at all")
    return trees or {None: folder}


def _by_stem(folder: Path, files: Iterable[Path], key: str, ending: str = "") -> dict[str, Path]:
    """Files by their path below `folder` as text in NFC, without suffix and `ending`; others are passed over."""
    ending = _nfc(ending)
    found: dict[str, Path] = {}
    for path in sorted(files):
        stem = _nfc(_id(path.with_suffix(""), folder))
        if not stem.endswith(ending):
            continue
        stem = stem.removesuffix(ending)
        if stem in found:
            differ = "their suffix" if path.suffix != found[stem].suffix else "the Unicode form of their names"
            raise UserError(f"{key}: {found[stem]} and {path.name} differ in {differ} alone; which one is meant?")
        found[stem] = path
    return found


def _id(path: Path, root: Path) -> str:
    return as_text(path.relative_to(root).as_posix())


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", encodable(name))


def _masks_by_stem(folder: Path, key: str, ending: str = "") -> dict[str, Path]:
    files = (path for path in photos_below(folder) if path.suffix.lower() in MASK_SUFFIXES)
    return _by_stem(folder, files, key, ending)


def check_partners(
    images: Mapping[str, F],
    masks: Mapping[str, F],
    key: str,
    mask_of: Callable[[str], str],
    image_of: Callable[[str], str],
) -> None:
    """Raise the UserError that counts images without masks, or masks without images, and names the first."""
    for have, others, what, partner, expected in (
        (images, masks, "images", "mask", mask_of),
        (masks, images, "masks", "image", image_of),
    ):
        alone = sorted(have.keys() - others.keys())
        if alone:
            count = f"{len(alone)} of {len(have)} {what}"
            first = f"first {have[alone[0]]}; expected {expected(alone[0])}"
            raise UserError(f"{key}: no {partner} for {count} ({first})")


def _in_folders(masks: str, images: str, mask_suffix: str = "") -> tuple[Callable[[str], str], Callable[[str], str]]:
    return (lambda stem: f"{masks}/{stem}{mask_suffix}.png"), (lambda stem: f"{images}/{stem}.jpg or .png")


def wrong_root(root: Path, key: str, wanted: Sequence[str], marks: Sequence[str]) -> UserError:
    """The line for a folder that is not the root, with the one above or inside it that is, or the nearest name."""
    around = [root.parent, root.parent.parent, *folders_in(root)]
    fitting = next((folder for folder in around if any((folder / mark).exists() for mark in marks)), None)
    found = names_in(root)
    near = f"; did you mean {key}={fitting}?" if fitting else ""
    missing = next((name for name in wanted if not (root / name).exists()), wanted[0])
    near = near or did_you_mean(missing if len(wanted) > 1 else marks[0], found)
    return UserError(f"{key}: {root} does not hold {', '.join(wanted)} (found {listing(found)}){near}")


def names_in(folder: Path) -> list[str]:
    """What lies directly inside, hidden files left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def listing(names: Sequence[str], most: int = 8) -> str:
    """The names as an error line shows them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def _recording(stem: str) -> str:
    return stem.partition("_")[0]


@contextmanager
def permitted(key: str) -> Iterator[None]:
    """A closed folder met inside the block is a UserError."""
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{key}: no permission to look into {error.filename}") from None

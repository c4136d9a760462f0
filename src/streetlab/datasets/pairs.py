"""Find images and their masks on disk and check that every image has its mask."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streetlab.datasets.content import HEIF_SUFFIXES, LOSSY, PHOTO_SUFFIXES, PassedOver
from streetlab.datasets.scan import SPLITS, check_root, folders_in, photos_below, split_folders
from streetlab.errors import UserError, did_you_mean
from streetlab.io.archive import File
from streetlab.io.filenames import as_text, encodable

MASK_SUFFIXES = {".png", ".tif", ".tiff", ".bmp", ".gif"}
ALSO_CALLED = {"masks": "labels"}
"""Another name of a folder, where there is none of the usual one."""

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


def scan_camvid(root: Path, key: str, passed: PassedOver | None = None) -> list[Pair]:
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
            images = _by_stem(folder, photos_below(folder, passed), key)
            masks = _masks_by_stem(root / f"{split}annot", key, passed=passed)
            if not images:
                raise UserError(f"{key}: {folder} holds no images")
            check_partners(images, masks, key, *_in_folders(f"{split}annot", split))
            pairs += [
                Pair(_id(images[stem], root), recording_of(stem), split, images[stem], masks[stem])
                for stem in sorted(images)
            ]
    return pairs


def scan_mask_folder(
    root: Path, key: str, images: str, masks: str, mask_suffix: str, passed: PassedOver | None = None
) -> list[Pair]:
    """`root/<images>/**` and `root/<masks>/**`, or both below each of `root/{train,val,test}`; every image is a group.

    Split folders lie below both, above both, or nowhere; some of them are enough. The case of all these folders does
    not matter, and masks may lie in `labels`. An image and its mask have the same path below these folders but for
    the ending and Unicode's form: `a/1.jpg` and `a/1<mask_suffix>.png`. With a `mask_suffix`, other files among the
    masks are passed over, and both may lie in one folder.

    Args:
        passed: takes up the files that are neither.

    Raises:
        UserError: no such folder, no images, an image without mask or a mask without image, two of one name.
    """
    passed = PassedOver() if passed is None else passed
    check_root(root, key, f"a folder with {images} and {masks}")
    with permitted(key):
        trees, base = _pair_trees(root, key, images, masks, passed)
        pairs = []
        for split, (image_tree, mask_tree) in trees.items():
            together = image_tree == mask_tree
            found_masks = _masks_by_stem(mask_tree, key, mask_suffix, None if together else passed)
            files: Iterable[Path] = photos_below(image_tree, passed)
            if mask_suffix and together:
                files = (file for file in files if not _nfc(file.stem).endswith(_nfc(mask_suffix)))
            found_images = _by_stem(image_tree, files, key)
            if not found_images:
                reasons = f" ({passed.sentence()})" if passed.counts else ""
                raise UserError(f"{key}: {image_tree} holds no images{reasons}")
            below = [folder.relative_to(root).as_posix() for folder in (mask_tree, image_tree)]
            check_partners(found_images, found_masks, key, *_in_folders(below[0], below[1], mask_suffix))
            for stem in sorted(found_images):
                name = _id(found_images[stem], base)
                pairs.append(Pair(name, name, split, found_images[stem], found_masks[stem]))
    return pairs


def _pair_trees(
    root: Path, key: str, images: str, masks: str, passed: PassedOver
) -> tuple[dict[str | None, tuple[Path, Path]], Path]:
    """Split → its folders of images and of masks (None: there are no splits), and the folder that ids begin below."""
    image_folder = _folder_called(root, images)
    if image_folder is None:
        splits = _split_trees(root, key, passed)
        inside = [(split, _folder_called(tree, images), _folder_called(tree, masks)) for split, tree in splits.items()]
        whole: dict[str | None, tuple[Path, Path]] = {}
        whole |= {split: (image, mask) for split, image, mask in inside if split and image and mask}
        if len(whole) == len(splits):
            return whole, root
    mask_folder = _folder_called(root, masks)
    for option, name, folder in (("images", images, image_folder), ("masks", masks, mask_folder)):
        if folder is None:
            names = [folder.name for folder in folders_in(root)]
            raise UserError(
                f"dataset.{option}: {root} has no folder '{name}'{did_you_mean(name, names)} (found {listing(names)})"
            )
    assert image_folder is not None
    assert mask_folder is not None
    image_trees, mask_trees = _split_trees(image_folder, key, passed), _split_trees(mask_folder, key, passed)
    if None in image_trees and None not in mask_trees:
        raise UserError(f"{key}: {mask_folder} has split folders, but {image_folder} has none")
    for split in image_trees:
        if split not in mask_trees:
            raise UserError(f"{key}: {image_folder} has a {split} folder, but {mask_folder} has none")
    return {split: (tree, mask_trees[split]) for split, tree in image_trees.items()}, image_folder


def _folder_called(parent: Path, name: str) -> Path | None:
    """The folder of that path inside, in any case, else under its other name; None if missing."""
    if (parent / name).is_dir():
        return parent / name
    by_name = {folder.name.lower(): folder for folder in folders_in(parent)}
    return by_name.get(name.lower()) or by_name.get(ALSO_CALLED.get(name, ""))


def _split_trees(folder: Path, key: str, passed: PassedOver) -> dict[str | None, Path]:
    """Split → its folder; `{None: folder}` where there are no split folders."""
    trees: dict[str | None, Path] = {}
    for split, inside in split_folders(folder, passed, of_classes=False):
        if split in trees:
            raise UserError(f"{key}: {folder} has {trees[split].name} and {inside.name}; which one is {split}?")
        trees[split] = inside
    return trees or {None: folder}


def _by_stem(folder: Path, files: Iterable[Path], key: str, ending: str = "") -> dict[str, Path]:
    """Files by their path below `folder` as text in NFC, without suffix and `ending`; others are passed over."""
    ending = _nfc(ending)
    found: dict[str, Path] = {}
    for path in sorted(files):
        named = path.with_suffix("") if path.suffix.lower() in PHOTO_SUFFIXES | HEIF_SUFFIXES else path
        stem = _nfc(_id(named, folder))
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


def _masks_by_stem(folder: Path, key: str, ending: str = "", passed: PassedOver | None = None) -> dict[str, Path]:
    masks = []
    for path in photos_below(folder, passed):
        if path.suffix.lower() in (PHOTO_SUFFIXES | HEIF_SUFFIXES) - MASK_SUFFIXES:
            if passed is not None:
                passed.add(LOSSY, path)
        else:
            masks.append(path)
    return _by_stem(folder, masks, key, ending)


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
    """The error for a folder that is not the root, with the nearest folder or name that is."""
    around = [root.parent, root.parent.parent, *folders_in(root)]
    fitting = next((folder for folder in around if any((folder / mark).exists() for mark in marks)), None)
    found = names_in(root)
    near = f"; did you mean {key}={fitting}?" if fitting else ""
    missing = next((name for name in wanted if not (root / name).exists()), wanted[0])
    near = near or did_you_mean(missing if len(wanted) > 1 else marks[0], found)
    return UserError(f"{key}: {root} does not hold {', '.join(wanted)} (found {listing(found)}){near}")


def names_in(folder: Path) -> list[str]:
    """The names directly inside a folder, hidden files left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def listing(names: Sequence[str], most: int = 8) -> str:
    """The names as an error line shows them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def recording_of(stem: str) -> str:
    """The recording that a frame of CamVid is of, by the frame's name: `0001TP_006690` → `0001TP`."""
    return stem.partition("_")[0]


@contextmanager
def permitted(key: str) -> Iterator[None]:
    """Turn a folder without permission met inside the block into a UserError."""
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{key}: no permission to look into {error.filename}") from None

"""Cityscapes (Cordts et al. 2016), unpacked or straight from its official zips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.mask_source import MaskSource, place_pairs
from streetlab.datasets.pairs import Pair, check_partners, listing, names_in, permitted, wrong_root
from streetlab.datasets.scan import SPLITS, check_root, photos_below
from streetlab.datasets.source import Sample
from streetlab.datasets.split_assignment import SplitAssignment
from streetlab.errors import UserError, did_you_mean
from streetlab.io.archive import File, ZipMember, zip_names
from streetlab.io.filenames import as_text

MASK_FILES = ("labelIds", "labelTrainIds")
_IMAGE_END = "_leftImg8bit.png"


class Cityscapes(MaskSource):
    """`root/leftImg8bit/{train,val,test}/<city>/` and `root/gtFine/...`, or the two zips that hold them.

    Numbers are reported on `val`: the truth of `test` is withheld (its published masks are dummies), so that its
    samples have no mask. Test may be absent. A split file or folds deal the images of train and val alone; then `test`
    has masks and is reported, and the images of the published test are left out.

    Args:
        root: holds the two folders or `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`.
        mask_files: which of the published masks to read: `labelIds`, or `labelTrainIds` as made by
            cityscapesScripts.
        labels: null: the 19 training classes.
        map: see `MaskSource`.
        split_file, folds, fold: in place of the published split, see `SplitAssignment`; folds keep recordings together.
    """

    eval_split = "val"

    def __init__(
        self,
        name: str,
        root: str | Path,
        cache_dir: str | Path,
        mask_files: str = "labelIds",
        labels: str | None = None,
        map: Mapping[str, str | None] | None = None,
        on_error: str = "fail",
        on_device: bool = False,
        split_file: str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        assignment = SplitAssignment(split_file, folds=folds, fold=fold, on_error=on_error)
        if mask_files not in MASK_FILES:
            near = did_you_mean(str(mask_files), MASK_FILES)
            raise UserError(f"dataset.mask_files: '{mask_files}' is not one of {', '.join(MASK_FILES)}{near}")
        root = Path(root).expanduser()
        pairs = scan_cityscapes(root, "dataset.root", mask_files)
        pairs, read = place_pairs(pairs, root, Path(cache_dir).expanduser(), assignment)
        space = CITYSCAPES if mask_files == "labelIds" else replace(CITYSCAPES, file_ids=(), void_ids=())
        labels = labels or CITYSCAPES.name  # one space for both kinds of mask files
        super().__init__(name, root, cache_dir, pairs, space, labels, map, on_error, on_device)
        self.split_file = read
        if not assignment.by_folders and self.samples("test"):
            self.eval_split = "test"

    def recording(self, sample: Sample) -> str:
        """The city: its frames share a car, a camera, a season and often a street."""
        return sample.id.split("/")[1]


def scan_cityscapes(root: Path, key: str, mask_files: str) -> list[Pair]:
    """Cityscapes' own layout, unpacked or in its official zips; ids are `val/frankfurt/frankfurt_000000_000294`.

    Frames of one recording (city and sequence) are one group. The masks of `test` are dummies and not looked at.

    Args:
        root: holds `leftImg8bit` and `gtFine`, or `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`.
        key: the config key that `root` came from, for error messages.
        mask_files: `labelIds` or `labelTrainIds`.

    Raises:
        UserError: the root is another folder, train or val lacks images, an image has no mask or a mask no image.
    """
    expected = "leftImg8bit and gtFine, or leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
    check_root(root, key, f"a folder with {expected}")
    with permitted(key):
        images = {
            name.removesuffix(_IMAGE_END): file
            for name, file in _cityscapes_files(root, "leftImg8bit", key, expected).items()
            if name.endswith(_IMAGE_END)
        }
        truth = _cityscapes_files(root, "gtFine", key, expected)
    masks = _cityscapes_masks(truth, root, key, mask_files)
    pairs = []
    for split in SPLITS:
        images_here = {stem: file for stem, file in images.items() if stem.startswith(f"{split}/")}
        if split != "test":
            if not images_here:
                raise UserError(f"{key}: {root} has no images leftImg8bit/{split}/<city>/*{_IMAGE_END}")
            masks_here = {stem: file for stem, file in masks.items() if stem.startswith(f"{split}/")}
            check_partners(
                images_here,
                masks_here,
                key,
                lambda stem: f"gtFine/{stem}_gtFine_{mask_files}.png",
                lambda stem: f"leftImg8bit/{stem}{_IMAGE_END}",
            )
        for stem in sorted(images_here):
            recording = stem.rpartition("/")[2].rpartition("_")[0]
            mask = None if split == "test" else masks[stem]
            pairs.append(Pair(as_text(stem), as_text(recording), split, images_here[stem], mask))
    return pairs


def _cityscapes_files(root: Path, top: str, key: str, expected: str) -> Mapping[str, File]:
    """The PNGs below the folder `top`, by their path under it: from the folder where it is there, else the zip."""
    archive = root / f"{top}_trainvaltest.zip"
    for folder in (root / top, root / archive.stem / top):
        if folder.is_dir():
            return {path.relative_to(folder).as_posix(): path for path in photos_below(folder)}
    if archive.is_file():
        names = zip_names(archive, key)
        return {name.removeprefix(f"{top}/"): ZipMember(archive, name) for name in names if name.startswith(f"{top}/")}
    if top == "gtFine":
        found = names_in(root)
        raise UserError(
            f"{key}: {root} has images but no masks: neither gtFine nor {archive.name}"
            f"{did_you_mean('gtFine', found)} (found {listing(found)})"
        )
    raise wrong_root(root, key, [expected], (top, archive.name))


def _cityscapes_masks(truth: Mapping[str, File], root: Path, key: str, mask_files: str) -> dict[str, File]:
    ends = {kind: f"_gtFine_{kind}.png" for kind in MASK_FILES}
    kinds = {
        kind: {name.removesuffix(end): file for name, file in truth.items() if name.endswith(end)}
        for kind, end in ends.items()
    }
    (other,) = (kind for kind in MASK_FILES if kind != mask_files)
    if not any(stem.startswith(("train/", "val/")) for stem in kinds[mask_files]):
        there = f"; there are *_gtFine_{other}.png: say dataset.mask_files={other}" if kinds[other] else ""
        raise UserError(f"{key}: {root} has no masks gtFine/train/<city>/*_gtFine_{mask_files}.png{there}")
    return kinds[mask_files]

"""Data set of the user's own images and masks in two folders, with split folders or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from streetlab.datasets.content import PassedOver
from streetlab.datasets.files import refuse_cache_below
from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace, categorical_palette, class_name
from streetlab.datasets.mapping import target_space
from streetlab.datasets.mask_source import MaskSource, place_pairs
from streetlab.datasets.pairs import scan_mask_folder
from streetlab.datasets.scan import report_passed
from streetlab.datasets.split_assignment import SplitAssignment
from streetlab.datasets.task_spec import SEGMENTATION
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import as_text, encodable, fold

Classes = Sequence[str] | Mapping[str, int]


class MaskFolder(MaskSource):
    """`root/images/{train,val,test}/**` and `root/masks/{train,val,test}/**`, or both without split folders.

    Split folders may lie above `images` and `masks` as well. Without them, or with some of them alone, splits are
    drawn and kept as `ImageFolder` does; where there are train and val, numbers are reported on `val`.

    Args:
        root: the tree.
        images, masks: the two folders below it.
        mask_suffix: what a mask's name has more than its image's: `_mask` for `a.jpg` and `a_mask.png`.
        classes: names in the order of their values in the files, or name → value; null: those of `labels`, where
            a class's value is its id.
        labels: name of the label space to learn; null: the classes as they are.
        map: see `MaskSource`.
        values: further values in the files, and the class of each: `{255: litter}`.
        ignore: further values in the files that count for nothing; 255 does where it is not among `values`.
        palette: one RGB colour per class; null: colours of our own.
        split_file, split_seed, folds, fold, test_from: as in `ImageFolder`; all images count as one class.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        cache_dir: str | Path,
        images: str = "images",
        masks: str = "masks",
        mask_suffix: str = "",
        classes: Classes | None = None,
        labels: str | None = None,
        map: Mapping[str, str | None] | None = None,
        ignore: Sequence[int] = (),
        palette: Sequence[Sequence[int]] | None = None,
        split_file: str | Path | None = None,
        split_seed: int = 0,
        folds: int | None = None,
        fold: int | None = None,
        on_error: str = "fail",
        on_device: bool = False,
        test_from: str | None = None,
        values: Mapping[int, str] | None = None,
    ) -> None:
        assignment = SplitAssignment(split_file, split_seed, folds, fold, on_error, test_from)
        root = Path(root).expanduser()
        space = _file_space(as_text(root.resolve().name), classes, labels, ignore, palette)
        further = _further_values(values, space)
        passed = PassedOver()
        pairs = scan_mask_folder(root, "dataset.root", images, masks, mask_suffix, passed)
        report_passed(passed, "dataset.root", root)
        tree_splits = frozenset(pair.split for pair in pairs if pair.split)
        refuse_cache_below(root, Path(cache_dir).expanduser())
        pairs, read = place_pairs(pairs, root, Path(cache_dir).expanduser(), assignment)
        super().__init__(name, root, cache_dir, pairs, space, labels, map, on_error, on_device, further)
        if not self.samples("test") and self.samples("val"):
            self.eval_split = "val"
        self.split_file, self.passed, self.tree_splits = read, passed, tree_splits
        if classes is not None:
            self.required_classes = self.occurring_classes


def _file_space(
    name: str,
    classes: Classes | None,
    labels: str | None,
    ignore: Sequence[int],
    palette: Sequence[Sequence[int]] | None,
) -> LabelSpace:
    """The classes of the files, with the values that stand for them."""
    void = tuple(_value("dataset.ignore", value) for value in ignore)
    if classes is None:
        if labels is None:
            raise UserError(
                "dataset.classes: which classes do the masks hold? Name them in the order of their values, "
                "dataset.classes=[road,sky,...], or with their values, dataset.classes={road: 7, sky: 23}, "
                "or name a label space with dataset.labels"
            )
        space = target_space(LabelSpace("", SEGMENTATION, (), ()), labels)
        kept = space.void_ids if not space.file_ids else ()
        return replace(space, file_ids=(), void_ids=(*kept, *void))
    names = tuple(encodable(class_name(name, "dataset.classes")) for name in classes)
    numbers = classes.values() if isinstance(classes, Mapping) else range(len(names))
    values = tuple(_value(f"dataset.classes: {name}", value) for name, value in zip(names, numbers, strict=True))
    if len(names) < 2:
        raise UserError(f"dataset.classes: {list(names)}; there must be at least two")
    for what, found in (("class", [fold(name) for name in names]), ("value", [*values, *void])):
        twice = next((entry for number, entry in enumerate(found) if entry in found[:number]), None)
        if twice is not None:
            where = "dataset.ignore" if what == "value" and twice in void else "dataset.classes"
            raise UserError(f"{where}: {what} {twice} stands there twice")
    return LabelSpace(name, SEGMENTATION, names, _colors(palette, names), file_ids=values, void_ids=void)


def _further_values(values: Mapping[int, str] | None, space: LabelSpace) -> dict[int, str]:
    """`dataset.values`, checked: value → class of the files."""
    names = {name.lower(): name for name in space.names}
    taken = {*(space.file_ids or range(len(space))), *space.void_ids}
    further: dict[int, str] = {}
    for key, name in (values or {}).items():
        value = int(key) if isinstance(key, str) and key.strip().isdecimal() else key
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
            raise UserError(
                f"dataset.values: {key!r} is no value of a mask (0 to 255); say dataset.values={{255: CLASS}}"
            )
        if str(name).lower() not in names:
            near = did_you_mean(str(name), space.names)
            raise UserError(f"dataset.values: {value}: no class '{name}' ({', '.join(space.names)}){near}")
        if value in taken:
            raise UserError(f"dataset.values: value {value} stands in dataset.classes or dataset.ignore already")
        further[value] = names[str(name).lower()]
    return further


def _value(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise UserError(f"{key}: {value!r} is no value of a mask (0 to 254; 255 means ignore)")
    if value == IGNORE_INDEX and not key.endswith("ignore"):
        name = key.rpartition(": ")[2]
        raise UserError(
            f"{key}: 255 means ignore; a class needs a value of 0 to 254. Where it stands for {name}, "
            f"say 'dataset.values={{255: {name}}}' besides"
        )
    return value


def _colors(palette: Sequence[Sequence[int]] | None, names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    if palette is None:
        return categorical_palette(len(names))
    if len(palette) != len(names):
        raise UserError(f"dataset.palette: {len(palette)} colours for {len(names)} classes")
    for color in palette:
        if len(color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in color):
            raise UserError(f"dataset.palette: {list(color)} is not [red, green, blue], each 0 to 255")
    return tuple((red, green, blue) for red, green, blue in palette)

"""Cityscapes (Cordts et al. 2016), unpacked or straight from its official zips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from streetlab.datasets.cityscapes_files import MASK_FILES, scan_cityscapes
from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.mask_source import MaskSource
from streetlab.errors import UserError, did_you_mean


class Cityscapes(MaskSource):
    """`root/leftImg8bit/{train,val,test}/<city>/` and `root/gtFine/...`, or the two zips that hold them.

    Numbers are reported on `val`: the truth of `test` is withheld (its published masks are dummies), so that its
    samples have no mask. Test may be absent.

    Args:
        root: holds the two folders or `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`.
        mask_files: which of the published masks to read: `labelIds`, or `labelTrainIds` as made by
            cityscapesScripts.
        labels: null: the 19 training classes.
        map: see `MaskSource`.
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
    ) -> None:
        if mask_files not in MASK_FILES:
            near = did_you_mean(str(mask_files), MASK_FILES)
            raise UserError(f"dataset.mask_files: '{mask_files}' is not one of {', '.join(MASK_FILES)}{near}")
        root = Path(root).expanduser()
        pairs = scan_cityscapes(root, "dataset.root", mask_files)
        space = CITYSCAPES if mask_files == "labelIds" else replace(CITYSCAPES, file_ids=(), void_ids=())
        labels = labels or CITYSCAPES.name  # one space for both kinds of mask files
        super().__init__(name, root, cache_dir, pairs, space, labels, map, on_error, on_device)

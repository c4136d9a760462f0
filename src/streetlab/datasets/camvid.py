"""CamVid (Brostow et al. 2009) in the 11 classes and the split of SegNet (Badrinarayanan et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streetlab.datasets.content import PassedOver
from streetlab.datasets.labels import CAMVID
from streetlab.datasets.mask_source import MaskSource, place_pairs
from streetlab.datasets.pairs import recording_of, scan_camvid
from streetlab.datasets.scan import report_passed
from streetlab.datasets.source import Sample
from streetlab.datasets.split_assignment import SplitAssignment

TO_CITYSCAPES = {
    "sky": "sky",
    "building": "building",
    "pole": "pole",
    "road": "road",
    "pavement": "sidewalk",
    "tree": "vegetation",
    "sign symbol": "traffic sign",
    "fence": "fence",
    "car": "car",
    "pedestrian": "person",
    "bicyclist": "rider",
}
"""CamVid's classes among those of Cityscapes; a bicyclist is a rider as in MSeg (Lambert et al. 2020)."""


class CamVid(MaskSource):
    """`root/{train,val,test}/*.jpg` with masks of equal names in `root/{train,val,test}annot/`.

    Args:
        root: the tree.
        labels: null: CamVid's own 11 classes; `cityscapes`: these among the 19 of Cityscapes.
        map: changes single classes of that mapping, see `MaskSource`.
        split_file, folds, fold: in place of the folders' split, see `SplitAssignment`; folds keep recordings together.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        cache_dir: str | Path,
        labels: str | None = None,
        map: Mapping[str, str | None] | None = None,
        on_error: str = "fail",
        on_device: bool = False,
        split_file: str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        assignment = SplitAssignment(split_file, folds=folds, fold=fold, on_error=on_error)
        root = Path(root).expanduser()
        passed = PassedOver()
        pairs = scan_camvid(root, "dataset.root", passed)
        report_passed(passed, "dataset.root", root)
        pairs, read = place_pairs(pairs, root, Path(cache_dir).expanduser(), assignment)
        built_in = TO_CITYSCAPES if labels == "cityscapes" else {}
        chosen = {name: wanted for name, wanted in built_in.items() if name not in _lower(map)}
        super().__init__(name, root, cache_dir, pairs, CAMVID, labels, {**chosen, **(map or {})}, on_error, on_device)
        self.passed, self.split_file = passed, read
        if not self.samples("test"):
            self.eval_split = "val"

    def recording(self, sample: Sample) -> str:
        return recording_of(sample.id.rpartition("/")[2])


def _lower(names: Mapping[str, str | None] | None) -> set[str]:
    return {str(name).lower() for name in names or ()}

"""Label spaces: the only place for class order, names, written criteria and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streetlab.config.annotations import misfits
from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION, TASKS, TaskName, TaskSpec
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import encodable, fold

IGNORE_INDEX = 255
"""The label of pixels that count for nothing (Cityscapes' convention)."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of one data set, in the order of their ids.

    Args:
        name: what the space is called in configs and records.
        task: what its labels are given to: a whole photo or each pixel.
        names: class names; the position is the id.
        palette: one RGB colour (0-255) per class.
        criteria: what a person is told to look for, one sentence per class, where written down.
        ordinal: the order of the classes is a scale (Clean < Medium < Litter).
        categories: the coarser group of each class, where there are such groups.
        file_ids: the value that stands for each class in mask files; empty where it is the class's id.
        void_ids: values in mask files, besides 255, that count for nothing.
    """

    name: str
    task: TaskName
    names: tuple[str, ...]
    palette: tuple[Color, ...]
    criteria: tuple[str, ...] = ()
    ordinal: bool = False
    categories: tuple[str, ...] = ()
    file_ids: tuple[int, ...] = ()
    void_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for what in ("palette", "categories", "file_ids"):
            found = getattr(self, what)
            if len(found) != len(self.names) and (found or what == "palette"):
                raise ValueError(f"{self.name}: {len(self.names)} names but {len(found)} in {what}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def spec(self) -> TaskSpec:
        """The facts of the task."""
        return TASKS[self.task]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, as checkpoints and records hold it."""
        return {
            key: list(map(list_if_tuple, value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LabelSpace:
        """The inverse of `to_dict`.

        Raises:
            ValueError, KeyError: a value is of another kind, or missing.
        """
        for line in misfits(cls, plain, "label_space"):
            raise ValueError(line)
        return cls(
            name=plain["name"],
            task=plain["task"],
            names=tuple(plain["names"]),
            palette=tuple((r, g, b) for r, g, b in plain["palette"]),
            criteria=tuple(plain.get("criteria", ())),
            ordinal=plain.get("ordinal", False),
            categories=tuple(plain.get("categories", ())),
            file_ids=tuple(plain.get("file_ids", ())),
            void_ids=tuple(plain.get("void_ids", ())),
        )


def same_names(one: Sequence[str], other: Sequence[str]) -> bool:
    """Check that two lists name the same classes in the same order, ignoring case and Unicode form."""
    return [fold(name) for name in one] == [fold(name) for name in other]


def list_if_tuple(value: object) -> Any:
    """A tuple as a list, as JSON has it; any other value as it is."""
    return list(value) if isinstance(value, tuple) else value


CLEANLINESS = LabelSpace(
    name="cleanliness",
    task=CLASSIFICATION,
    names=("Clean", "Medium", "Litter"),
    palette=((46, 160, 103), (235, 172, 35), (199, 62, 58)),
    criteria=(
        "No visible litter; the pavement is tidy.",
        "Small, scattered litter; bins may be present; litter does not dominate.",
        "Several items, piles or widespread litter that dominate the ground.",
    ),
    ordinal=True,
)

# name, labelId, category and colour of the 19 training classes in the order of their train ids
# (cityscapesScripts, helpers/labels.py)
_CITYSCAPES = (
    ("road", 7, "flat", (128, 64, 128)),
    ("sidewalk", 8, "flat", (244, 35, 232)),
    ("building", 11, "construction", (70, 70, 70)),
    ("wall", 12, "construction", (102, 102, 156)),
    ("fence", 13, "construction", (190, 153, 153)),
    ("pole", 17, "object", (153, 153, 153)),
    ("traffic light", 19, "object", (250, 170, 30)),
    ("traffic sign", 20, "object", (220, 220, 0)),
    ("vegetation", 21, "nature", (107, 142, 35)),
    ("terrain", 22, "nature", (152, 251, 152)),
    ("sky", 23, "sky", (70, 130, 180)),
    ("person", 24, "human", (220, 20, 60)),
    ("rider", 25, "human", (255, 0, 0)),
    ("car", 26, "vehicle", (0, 0, 142)),
    ("truck", 27, "vehicle", (0, 0, 70)),
    ("bus", 28, "vehicle", (0, 60, 100)),
    ("train", 31, "vehicle", (0, 80, 100)),
    ("motorcycle", 32, "vehicle", (0, 0, 230)),
    ("bicycle", 33, "vehicle", (119, 11, 32)),
)
# the 11 classes of Segnet's version of CamVid, in its order, with CamVid's colours
# (Brostow et al. 2009; Badrinarayanan et al. 2017), and the Cityscapes categories they belong to
_CAMVID = (
    ("sky", "sky", (128, 128, 128)),
    ("building", "construction", (128, 0, 0)),
    ("pole", "object", (192, 192, 128)),
    ("road", "flat", (128, 64, 128)),
    ("pavement", "flat", (60, 40, 222)),
    ("tree", "nature", (128, 128, 0)),
    ("sign symbol", "object", (192, 128, 128)),
    ("fence", "construction", (64, 64, 128)),
    ("car", "vehicle", (64, 0, 128)),
    ("pedestrian", "human", (64, 64, 0)),
    ("bicyclist", "human", (0, 128, 192)),
)

CITYSCAPES = LabelSpace(
    name="cityscapes",
    task=SEGMENTATION,
    names=tuple(name for name, *_ in _CITYSCAPES),
    palette=tuple(color for *_, color in _CITYSCAPES),
    categories=tuple(category for _, _, category, _ in _CITYSCAPES),
    file_ids=tuple(label_id for _, label_id, *_ in _CITYSCAPES),
    void_ids=tuple(i for i in range(34) if i not in {label_id for _, label_id, *_ in _CITYSCAPES}),
)

CAMVID = LabelSpace(
    name="camvid",
    task=SEGMENTATION,
    names=tuple(name for name, *_ in _CAMVID),
    palette=tuple(color for *_, color in _CAMVID),
    categories=tuple(category for _, category, _ in _CAMVID),
    void_ids=(11,),
)

LABEL_SPACES = {space.name: space for space in (CLEANLINESS, CITYSCAPES, CAMVID)}


def to_label_ids(mask: np.ndarray, label_space: LabelSpace = CITYSCAPES) -> np.ndarray:
    """Class ids (uint8, any shape) as the values of mask files: Cityscapes' labelIds, as its benchmark takes them.

    Ignored pixels (255) become 0, Cityscapes' `unlabeled`.

    Raises:
        ValueError: a value that is neither a class nor 255.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[: len(label_space)] = label_space.file_ids or range(len(label_space))
    table[IGNORE_INDEX] = 0
    label_ids = table[mask]
    if (label_ids == IGNORE_INDEX).any():
        raise ValueError(f"{mask[label_ids == IGNORE_INDEX][0]} is not a train id of {label_space.name}")
    return label_ids


def class_name(entry: object, key: str) -> str:
    """The name of a class as it was written. A whole number is a name, too.

    Raises:
        UserError: the entry is what YAML makes of null, true or 1e3, whose text is gone.
    """
    if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
        return str(entry)
    raise UserError(
        f"{key}: {entry} is no name of a class: YAML takes null, true and 1e3 for values; put such a name in quotes, "
        f'as in \'{key}=["true","1e3"]\', and where it stands before a colon, in quotes in a YAML file'
    )


def class_ids(asked: Any, names: Sequence[str], key: str = "classes") -> list[int] | None:
    """The ids that a key of a command names, by name or by id; None where the key is empty.

    Raises:
        UserError: no such class; the nearest name, or the range, is told.
    """
    if asked is None:
        return None
    if isinstance(asked, str | int):
        asked = [asked]
    by_name = {fold(name): i for i, name in enumerate(names)}
    ids = []
    for entry in asked:
        text = encodable(class_name(entry, key))
        text = text if fold(text) in by_name else text.strip()
        if fold(text) in by_name:
            ids.append(by_name[fold(text)])
            continue
        try:
            number = int(text)
        except ValueError:
            near = did_you_mean(text, names)
            raise UserError(f"{key}: '{text}' is not one of {', '.join(names)}{near}") from None
        if not 0 <= number < len(names):
            raise UserError(f"{key}: {number} is not one of 0..{len(names) - 1} ({', '.join(names)})")
        ids.append(number)
    return list(dict.fromkeys(ids))


_CATEGORICAL = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


def categorical_palette(count: int) -> tuple[Color, ...]:
    """`count` colours for classes without colours of their own (matplotlib's tab10, repeated)."""
    return tuple(_CATEGORICAL[i % len(_CATEGORICAL)] for i in range(count))

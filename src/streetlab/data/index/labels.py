"""Label spaces: class order, names, written criteria and colours live here and nowhere else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

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
    """

    name: str
    task: Literal["classification", "segmentation"]
    names: tuple[str, ...]
    palette: tuple[Color, ...]
    criteria: tuple[str, ...] = ()
    ordinal: bool = False

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(f"{self.name}: {len(self.names)} names but {len(self.palette)} colours")

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, as checkpoints and records hold it."""
        return {
            key: list(map(list_if_tuple, value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LabelSpace:
        """The inverse of `to_dict`."""
        return cls(
            name=plain["name"],
            task=plain["task"],
            names=tuple(plain["names"]),
            palette=tuple((r, g, b) for r, g, b in plain["palette"]),
            criteria=tuple(plain.get("criteria", ())),
            ordinal=plain.get("ordinal", False),
        )


def list_if_tuple(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


CLEANLINESS = LabelSpace(
    name="cleanliness",
    task="classification",
    names=("Clean", "Medium", "Litter"),
    palette=((46, 160, 103), (235, 172, 35), (199, 62, 58)),
    criteria=(
        "No visible litter; the pavement is tidy.",
        "Small, scattered litter; bins may be present; litter does not dominate.",
        "Several items, piles or widespread litter that dominate the ground.",
    ),
    ordinal=True,
)

CITYSCAPES = LabelSpace(
    "cityscapes",
    "segmentation",
    # the 19 training classes in the order of their train ids, and their colours (cityscapesScripts,
    # helpers/labels.py)
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
        "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

LABEL_SPACES = {space.name: space for space in (CLEANLINESS, CITYSCAPES)}

_CATEGORICAL = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


def categorical_palette(count: int) -> tuple[Color, ...]:
    """`count` colours for classes that bring none of their own (matplotlib's tab10, repeated)."""
    return tuple(_CATEGORICAL[i % len(_CATEGORICAL)] for i in range(count))

"""Roles of classes that follow from their category and name: ground, people, vehicles."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streetlab.datasets.labels import LabelSpace

_CATEGORIES = {"flat": "ground", "human": "people", "vehicle": "vehicles"}
"""The role of a whole category, as Cityscapes and CamVid name them."""
_WORDS = {
    "ground": ("ground", "grass", "kerb", "curb", "parking", "path", "pavement", "road", "sidewalk", "street",
               "terrain"),
    "people": ("person", "people", "human", "pedestrian", "man", "woman", "child", "rider", "bicyclist", "cyclist",
               "motorcyclist"),
    "vehicles": ("vehicle", "car", "van", "truck", "lorry", "bus", "coach", "train", "tram", "motorcycle",
                 "motorbike", "moped", "scooter", "bicycle", "bike", "caravan", "trailer", "taxi"),
}  # fmt: skip


def ground_classes(label_space: LabelSpace) -> list[int]:
    """The ids of ground: classes of the category `flat`, and those whose name says so (terrain, kerb).

    A name counts by its last word, so that a street lamp is no ground.
    """
    return _classes(label_space, "ground")


@dataclass(frozen=True)
class PrivateClasses:
    """The classes whose pixels no shared picture may show: ids of people, riders among them, and of vehicles."""

    people: tuple[int, ...]
    vehicles: tuple[int, ...]

    @classmethod
    def of(cls, label_space: LabelSpace) -> PrivateClasses:
        """The private classes of a label space: those of the categories human and vehicle, and by their last word.

        A data set says that a class is private with its category, or with a name that is in the table: pedestrian,
        parked cars, delivery van. A bus stop is no bus.
        """
        return cls(tuple(_classes(label_space, "people")), tuple(_classes(label_space, "vehicles")))

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them, in the order of the ids."""
        return tuple(sorted({*self.people, *self.vehicles}))

    @property
    def lacking(self) -> str | None:
        """What is not among the classes, as a message names it; None where both people and vehicles are."""
        missing = [what for what, ids in (("people", self.people), ("vehicles", self.vehicles)) if not ids]
        return " or ".join(missing) or None


def _classes(label_space: LabelSpace, role: str) -> list[int]:
    categories = label_space.categories or ("",) * len(label_space)
    return [
        index
        for index, (name, category) in enumerate(zip(label_space.names, categories, strict=True))
        if _CATEGORIES.get(category) == role or _last_word(name) in _WORDS[role]
    ]


def _last_word(name: str) -> str:
    """The last word in lower case; of people and things in the plural, the singular."""
    word = re.split(r"[\W_]+", name.lower())[-1]
    known = {entry for words in _WORDS.values() for entry in words}
    return word if word in known else word.removesuffix("s")

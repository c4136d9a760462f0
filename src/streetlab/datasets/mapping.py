"""Map the values in mask files to class ids by class names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from streetlab.datasets.labels import IGNORE_INDEX, LABEL_SPACES, LabelSpace, class_name
from streetlab.errors import UserError, did_you_mean
from streetlab.io.filenames import fold


@dataclass(frozen=True)
class MaskTable:
    """Table from the values of a mask file to class ids.

    Attributes:
        ids: (256,) uint8, the class id of each value, 255 = ignore.
        known: (256,) bool, the values that may stand in a file at all.
    """

    ids: np.ndarray
    known: np.ndarray

    @property
    def values(self) -> str:
        """The known values as a person writes them: `0-11, 255`."""
        return number_ranges(np.flatnonzero(self.known).tolist())


def target_space(own: LabelSpace, labels: str | None) -> LabelSpace:
    """The label space of that name; the files' own where it is None.

    Raises:
        UserError: there is no such label space for masks.
    """
    spaces = {name: space for name, space in LABEL_SPACES.items() if space.spec.per_pixel}
    if labels is None:
        return own
    if labels not in spaces:
        near = did_you_mean(str(labels), spaces)
        raise UserError(f"dataset.labels: no label space '{labels}' for masks ({', '.join(spaces)}){near}")
    return spaces[labels]


def mask_table(
    own: LabelSpace,
    target: LabelSpace,
    chosen: Mapping[str, str | None],
    further: Mapping[int, str] = MappingProxyType({}),
) -> MaskTable:
    """The table from the files' values to the target's class ids.

    A class becomes what `chosen` says (None: ignore), else the target's class of its own name; case and
    Unicode form do not matter.

    Args:
        own: the classes of the files, with the values that stand for them.
        target: the classes that the network learns.
        chosen: own class → target class.
        further: values that stand for an own class too.

    Raises:
        UserError: `chosen` names a class that does not exist, or a class has no counterpart.
    """
    ids = {fold(name): number for number, name in enumerate(target.names)}
    owned = {fold(name) for name in own.names}
    becomes: dict[str, int] = {}
    for name, wanted in chosen.items():
        key = fold(class_name(name, "dataset.map"))
        if key not in owned:
            near = did_you_mean(key, owned)
            raise UserError(f"dataset.map: no class '{name}' in {own.name} ({', '.join(own.names)}){near}")
        target_key = None if wanted is None else fold(class_name(wanted, "dataset.map"))
        if target_key is not None and target_key not in ids:
            near = did_you_mean(target_key, target.names)
            classes = ", ".join(target.names)
            raise UserError(f"dataset.map: {name}: no class '{wanted}' in {target.name} ({classes}){near}")
        becomes[key] = IGNORE_INDEX if target_key is None else ids[target_key]
    table = MaskTable(np.full(256, IGNORE_INDEX, np.uint8), np.zeros(256, bool))
    table.known[[*own.void_ids, IGNORE_INDEX]] = True
    values = [*zip(own.file_ids or range(len(own)), own.names, strict=True), *further.items()]
    for value, name in values:
        number = becomes.get(fold(name), ids.get(fold(name)))
        if number is None:
            near = did_you_mean(name.lower(), target.names)
            raise UserError(
                f"dataset.map: class '{name}' of {own.name} is none of {target.name} ({', '.join(target.names)}){near}"
                f"; say 'dataset.map={{{name}: CLASS}}' with one of these, or null to ignore it"
            )
        table.ids[value], table.known[value] = number, True
    return table


def number_ranges(numbers: list[int]) -> str:
    """Ascending numbers in short: `0-2, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)

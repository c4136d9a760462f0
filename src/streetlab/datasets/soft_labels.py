"""Soft labels of photos from a CSV file: the probability of each class, as the shares of several people's votes."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.source import Sample
from streetlab.errors import UserError, did_you_mean

_KEY = "dataset.soft_labels"


def read_soft_labels(path: Path, samples: Sequence[Sample], space: LabelSpace) -> NDArray[np.float32]:
    """Read the probabilities of photos.

    The file has a column `photo`, with a photo's path below the root or its file name alone, and one column for each
    class. A row's numbers are from 0 on and are divided by their sum, so that votes may be counted as they are. A photo
    without a row keeps its label; a row without a photo counts for nothing, since it may be of another split.

    Args:
        samples: of one split, each with a label.

    Returns:
        `(N, K)`; each row sums to 1.

    Raises:
        UserError: no such file, a column or number that does not fit, two rows of one photo, a file name that several
            photos have, or no row of any of the photos.
    """
    rows = _read(path, space)
    names = Counter(PurePosixPath(sample.id).name for sample in samples)
    result = np.zeros((len(samples), len(space)), np.float32)
    matched = 0
    for number, sample in enumerate(samples):
        name = PurePosixPath(sample.id).name
        if name in rows and name != sample.id and names[name] > 1:
            raise UserError(
                f"{_KEY}: {path}: {names[name]} photos are called '{name}'; write their paths below the root"
            )
        row = rows.get(sample.id, rows.get(name))
        matched += row is not None
        if row is None:
            assert sample.label is not None
            result[number, sample.label] = 1
        else:
            result[number] = row
    if samples and not matched:
        raise UserError(f"{_KEY}: {path} has no row of any of the {len(samples)} photos, as '{samples[0].id}'")
    return result


def _read(path: Path, space: LabelSpace) -> Mapping[str, NDArray[np.float64]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [*(reader.fieldnames or ())]
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{_KEY}: cannot read {path} ({getattr(error, 'strerror', None) or error})") from None
    needed = ["photo", *space.names]
    for column in needed:
        if column not in columns:
            raise UserError(
                f"{_KEY}: {path} has no column '{column}'{did_you_mean(column, columns)} (needed: {', '.join(needed)})"
            )
    rows: dict[str, NDArray[np.float64]] = {}
    for line, cells in lines:
        photo = cells["photo"].replace("\\", "/")
        if photo in rows:
            raise UserError(f"{_KEY}: {path}, line {line}: '{photo}' has a row already")
        values = np.array([_number(cells[name], f"{path}, line {line}, {name}") for name in space.names])
        if values.sum() <= 0:
            raise UserError(f"{_KEY}: {path}, line {line}: no class of '{photo}' is above 0")
        rows[photo] = values / values.sum()
    return rows


def _number(text: str | None, place: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f"{_KEY}: {place}: '{text}' is not a number from 0")
    return value

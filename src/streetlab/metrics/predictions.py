"""A classifier's predictions for each photo of a split, and the table predictions.csv that keeps them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streetlab.errors import UserError, did_you_mean
from streetlab.io import files
from streetlab.io.frames import data_frame
from streetlab.metrics.statistics.scores import photo_counts

if TYPE_CHECKING:
    import pandas as pd

_FIXED = ("split", "id", "group", "label", "prediction")
_PROBABILITY = "p_"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions on one split, one entry per photo.

    Args:
        ids: N paths of the photos under the data set's root.
        groups: N names of duplicate groups; photos of one group are not independent.
        labels: (N,) int, the true class.
        predictions: (N,) int, the predicted class.
        probabilities: (N, K) float, one column per class.
        names: K class names; the position is the class's id.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    names: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
        object.__setattr__(self, "predictions", np.asarray(self.predictions, dtype=np.int64))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, dtype=np.float64))
        n, k = len(self.ids), len(self.names)
        found = {
            "groups": (len(self.groups),),
            "labels": self.labels.shape,
            "predictions": self.predictions.shape,
        }
        for what, shape in found.items():
            if shape != (n,):
                raise ValueError(f"Predictions.{what}: {n} ids but shape {shape}")
        if self.probabilities.shape != (n, k):
            raise ValueError(f"Predictions.probabilities: shape {self.probabilities.shape}, expected {(n, k)}")
        for what, classes in (("labels", self.labels), ("predictions", self.predictions)):
            if n and (classes.min() < 0 or classes.max() >= k):
                raise ValueError(f"Predictions.{what}: ids {classes.min()}..{classes.max()}, allowed 0..{k - 1}")

    def __len__(self) -> int:
        return len(self.ids)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each photo: id, group, label, prediction, and `p_<class>` for each class."""
        rows = [
            {
                "id": identity,
                "group": self.groups[i],
                "label": self.names[self.labels[i]],
                "prediction": self.names[self.predictions[i]],
                **{_PROBABILITY + name: p for name, p in zip(self.names, self.probabilities[i], strict=True)},
            }
            for i, identity in enumerate(self.ids)
        ]
        return data_frame(rows)

    @property
    def counts(self) -> NDArray[np.float64]:
        """(N, K, 3) hits, predicted and true, see `statistics.scores`."""
        return photo_counts(self.labels, self.predictions, len(self.names))

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the class was found."""
        return self.labels == self.predictions

    @property
    def strata(self) -> NDArray[np.int64]:
        """(N,) the label, within which photos are resampled."""
        return self.labels


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """The photos of all parts as one split, in the order of the parts.

    Raises:
        ValueError: no part, or parts with other class names.
    """
    if len({tuple(part.names) for part in parts}) != 1:
        raise ValueError(f"join_predictions: the {len(parts)} parts must share one list of class names")
    return Predictions(
        ids=[identity for part in parts for identity in part.ids],
        groups=[group for part in parts for group in part.groups],
        labels=np.concatenate([part.labels for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        names=parts[0].names,
    )


def most_wrong(predictions: Predictions, count: int = 24) -> NDArray[np.int64]:
    """Positions of the wrong predictions, the most confident first; at most `count`, ties by position."""
    wrong = np.flatnonzero(predictions.predictions != predictions.labels)
    confidence = predictions.probabilities[wrong, predictions.predictions[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")][:count]


def write_predictions(path: Path, by_split: Mapping[str, Predictions]) -> Path:
    """Write predictions.csv; label and prediction stand there as class names.

    Probabilities carry 9 significant digits, which gives every float32 back exactly.
    """
    spaces = {tuple(part.names) for part in by_split.values()}
    if len(spaces) != 1:
        raise ValueError(f"{path}: the splits must share one list of class names, found {sorted(spaces)}")
    (names,) = spaces
    return files.write_csv(path, _rows(by_split), [*_FIXED, *(_PROBABILITY + name for name in names)])


def _rows(by_split: Mapping[str, Predictions]) -> Iterator[dict[str, Any]]:
    for split, part in by_split.items():
        columns = [_PROBABILITY + name for name in part.names]
        for i, identity in enumerate(part.ids):
            yield {
                "split": split,
                "id": identity,
                "group": part.groups[i],
                "label": part.names[part.labels[i]],
                "prediction": part.names[part.predictions[i]],
                **{c: f"{p:.9g}" for c, p in zip(columns, part.probabilities[i], strict=True)},
            }


def read_predictions(path: Path, split: str) -> Predictions:
    """Read one split of predictions.csv; classes are in the order of the probability columns.

    Raises:
        UserError: no such file, a column or a class is missing, or the split is not in it.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; only a completed classification run has one") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    columns = [name for name in header if name.startswith(_PROBABILITY)]
    names = tuple(name.removeprefix(_PROBABILITY) for name in columns)
    missing = [name for name in _FIXED if name not in header]
    if missing or not columns:
        raise UserError(f"{path}: column {(missing or [_PROBABILITY + '<ClassName>'])[0]} is missing")
    splits = sorted({row["split"] for row in rows})
    rows = [row for row in rows if row["split"] == split]
    if not rows:
        allowed = ", ".join(splits) or "none"
        raise UserError(f"{path}: no split {split!r}; it holds {allowed}{did_you_mean(split, splits)}")
    index = {name: i for i, name in enumerate(names)}
    try:
        return Predictions(
            ids=[row["id"] for row in rows],
            groups=[row["group"] for row in rows],
            labels=np.array([index[row["label"]] for row in rows]),
            predictions=np.array([index[row["prediction"]] for row in rows]),
            probabilities=np.array([[float(row[column]) for column in columns] for row in rows]),
            names=names,
        )
    except KeyError as error:
        raise UserError(f"{path}: class {error} is not one of {', '.join(names)}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); run the test again with `streetlab evaluate`") from None

"""The results of a tested split photo by photo: one form for all tasks, and the file of each task that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.confusions import Confusions, join_confusions, read_confusions
from streetlab.metrics.predictions import join_predictions, read_predictions
from streetlab.metrics.segmentation import summarize_segmentation


class SplitResults(Protocol):
    """The answers to N photos or images of one split, whatever the task.

    Attributes:
        ids: N paths under the data set's root.
        names: K class names.
        groups: N names of duplicate groups; empty for one that stands alone.
        counts: (N, K, 3) hits, predicted and true, see `statistics.scores`.
        right: (N,) whether the class was found; None where an image is neither right nor wrong.
        strata: (N,) the strata of resampling.
    """

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def counts(self) -> NDArray[np.float64]: ...
    @property
    def right(self) -> NDArray[np.bool_] | None: ...
    @property
    def strata(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class ResultFile:
    """The file of a record that keeps a task's results.

    Args:
        name: in the record's folder.
        read: the results of one split of it.
        join: those of several parts of a split as one.
        summarize: every number that follows from them.
    """

    name: str
    read: Callable[[Path, str], Any]
    join: Callable[[Sequence[Any]], Any]
    summarize: Callable[[Any, LabelSpace], dict[str, Any]]


def _summarize_confusions(images: Confusions, label_space: LabelSpace) -> dict[str, Any]:
    return summarize_segmentation(images.total, label_space, len(images))


RESULT_FILES = {
    CLASSIFICATION: ResultFile("predictions.csv", read_predictions, join_predictions, summarize_classification),
    SEGMENTATION: ResultFile("confusions.npz", read_confusions, join_confusions, _summarize_confusions),
}

"""Photos of known class that the run was tested on: how often it takes one class for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streetlab.errors import UserError
from streetlab.metrics.classification import confusion_counts
from streetlab.metrics.statistics.calibration import apply_temperature
from streetlab.records.locate import locate_run


@dataclass(frozen=True, eq=False)
class KnownPhotos:
    """The test part of a run.

    Args:
        labels: (N,) true class.
        predictions: (N,) predicted class.
        probabilities: (N, K), calibrated where the run has a temperature.
        classes: K names.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: tuple[str, ...]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) counts; the row is the true class."""
        return confusion_counts(self.labels, self.predictions, self.probabilities.shape[1])


def read_known_photos(run: Path, classes: Sequence[str] | None = None) -> KnownPhotos:
    """Read the test part of a run.

    Args:
        classes: in the order that is wanted; None: the run's own.

    Raises:
        UserError: no such run, one without predictions of its test part, or one with other classes.
    """
    record = locate_run(str(run))
    tested = record.predictions()
    wanted = list(tested.names if classes is None else classes)
    if sorted(wanted) != sorted(tested.names):
        raise UserError(f"run: {run} has the classes {', '.join(tested.names)}, not {', '.join(wanted)}")
    order = [list(tested.names).index(name) for name in wanted]
    rank = np.argsort(order)
    temperature = record.metrics[record.eval_split].get("temperature")
    probabilities = tested.probabilities
    if temperature is not None:
        probabilities = apply_temperature(probabilities, float(temperature))
    return KnownPhotos(rank[tested.labels], rank[tested.predictions], probabilities[:, order], tuple(wanted))

"""Fit a run's training domain: statistics of train's photos, and the threshold from val's."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from streetlab.datasets.decode import resize
from streetlab.datasets.training_domain import TrainingDomain, photo_statistics
from streetlab.io.parallel import in_order
from streetlab.loading.datamodule import StreetData

log = logging.getLogger(__name__)

_MOST_PHOTOS = {"train": 300, "val": 1000}
"""Photos of a split that are measured, spread evenly: more change the statistics little and cost time."""
_AHEAD = 4


def fit_domain(trainer: pl.Trainer, data: StreetData) -> TrainingDomain | None:
    """Fit the domain to photos of train, not augmented, and of val; called in one process.

    Returns:
        None, with a line in the log, where a split has too few photos.
    """
    limits = {"train": trainer.limit_train_batches, "val": trainer.limit_val_batches}
    measured = {
        split: _statistics(data, split, _rows(len(data.samples(split)), limit, data.batch_size, _MOST_PHOTOS[split]))
        for split, limit in limits.items()
    }
    try:
        return TrainingDomain.fit(measured["train"], measured["val"])
    except ValueError as error:
        log.info("photos unlike the training photos will not be marked: %s", error)
        return None


def _rows(photos: int, limit: float | int | None, batch_size: int, most: int) -> list[int]:
    """Rows of a split that are measured, as many as the Trainer's limit of batches allows."""
    allowed = limit * batch_size if isinstance(limit, int) else round((1.0 if limit is None else limit) * photos)
    count = min(photos, allowed, most)
    return [row * photos // count for row in range(count)]


def _statistics(data: StreetData, split: str, rows: list[int]) -> NDArray[np.float64]:
    """Statistics (N, F) of these rows' photos at the size that the network sees."""
    samples = data.samples(split)

    def measure(row: int) -> NDArray[np.float64]:
        pixels = data.cached_image(split, row)
        if pixels.shape[:2] != data.image_size:
            # train is cached larger where crops are cut from it; resized twice, a photo would be another one
            pixels = resize(data.source.read(samples[row]), data.image_size)
        return photo_statistics(pixels)

    with ThreadPoolExecutor(_AHEAD) as pool:
        return np.array(list(in_order(pool, measure, rows, _AHEAD)))

"""Measure every image of a data set once, in parallel, into columns that are cached."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streetlab.audit.measures import THUMBNAIL, Measured, measure
from streetlab.audit.store import Store
from streetlab.datasets.source import DataSource, Sample
from streetlab.io.parallel import in_order, reading_pool
from streetlab.progress import track


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Measurements of N images as columns, in the order of the samples; `Measured` documents each one.

    Attributes:
        sha256, pixels, format, high_range, error: N entries, None where there is nothing to say.
        phash, mirrored, square: (N,) uint64; 0 where an image does not decode, as in all that follows.
        thumbnails: (N, THUMBNAIL, THUMBNAIL) uint8 luma.
        width, height: (N,) int32, upright.
        sharpness, brightness, dark_share, bright_share: (N,) float32.
    """

    sha256: list[str | None]
    pixels: list[str | None]
    phash: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    square: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    format: list[str | None]
    high_range: list[str | None]
    sharpness: NDArray[np.float32]
    brightness: NDArray[np.float32]
    dark_share: NDArray[np.float32]
    bright_share: NDArray[np.float32]
    error: list[str | None]

    def __len__(self) -> int:
        return len(self.sha256)

    @property
    def decoded(self) -> NDArray[np.bool_]:
        """(N,) True for images that decode."""
        return np.array([error is None for error in self.error], dtype=bool)

    def content(self, index: int) -> str | None:
        """Content hash of each image, independent of its path: of its bytes, or its pixels where it has no file."""
        return self.sha256[index] or self.pixels[index]


def fingerprint_all(source: DataSource, samples: Sequence[Sample], cache: Path) -> Fingerprints:
    """Measure every image; images that were measured before are read from the store.

    Images that do not decode are measured as far as they can be, with the reason in `error`; nothing about an
    image stops this.

    Args:
        samples: of the source, from any of its splits.
        cache: a folder to keep the measures in, by path, size and time of the files; never under the data.
            A killed run loses the last seconds only.

    Raises:
        UserError: the folder cannot be written to.
    """
    keys = [source.fingerprint(sample) for sample in samples]
    with Store(cache) as store:
        known = store.read(keys)
        fresh = [(key, sample) for key, sample in dict(zip(keys, samples, strict=True)).items() if key not in known]
        if fresh:
            # a large image is only worth a warning to Pillow, and filters hold for all threads of a process
            with warnings.catch_warnings(), reading_pool(source.drawn_when_read, len(fresh)) as pool:
                warnings.simplefilter("ignore")
                measured = in_order(pool, partial(measure, source), [sample for _, sample in fresh])
                for (key, sample), one in zip(
                    fresh, track(measured, f"reading {source.name}", len(fresh)), strict=True
                ):
                    known[key] = one
                    if one.sha256 is not None or sample.path is None:  # a file that is closed now may be opened
                        store.write(key, one)
    return _columns([known[key] for key in keys])


def _columns(rows: Sequence[Measured]) -> Fingerprints:
    thumbnails = np.zeros((len(rows), THUMBNAIL * THUMBNAIL), np.uint8)
    for place, row in zip(thumbnails, rows, strict=True):
        if row.thumbnail:
            place[:] = np.frombuffer(row.thumbnail, np.uint8)
    return Fingerprints(
        sha256=[row.sha256 for row in rows],
        pixels=[row.pixels for row in rows],
        phash=np.array([row.phash for row in rows], np.uint64),
        mirrored=np.array([row.mirrored for row in rows], np.uint64),
        square=np.array([row.square for row in rows], np.uint64),
        thumbnails=thumbnails.reshape(-1, THUMBNAIL, THUMBNAIL),
        width=np.array([row.width for row in rows], np.int32),
        height=np.array([row.height for row in rows], np.int32),
        format=[row.format for row in rows],
        high_range=[row.high_range for row in rows],
        sharpness=np.array([row.sharpness for row in rows], np.float32),
        brightness=np.array([row.brightness for row in rows], np.float32),
        dark_share=np.array([row.dark_share for row in rows], np.float32),
        bright_share=np.array([row.bright_share for row in rows], np.float32),
        error=[row.error for row in rows],
    )

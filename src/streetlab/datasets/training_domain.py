"""Tell photos that look unlike those that a network was trained on, by their colours and spatial frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

MOST_MARKED = 0.05
"""The largest share of the photos of val, and of train, that may be marked."""
_SIDE = 8
"""Side of the blocks that spatial frequencies are measured in, in pixels; JPEG's."""
_BANDS = np.add.outer(np.arange(_SIDE), np.arange(_SIDE)).ravel()
"""The band of each coefficient of a block, from 0, its mean, to 14, the finest."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""
_SHRINKAGE = 0.1
"""How far the correlations of the training photos are drawn to zero, so that few photos have a distance too."""
_LEAST = 1e-6
_PER_CHANNEL = 16
"""Statistics of each of luma and the two colour differences: 14 bands, mean, deviation."""
_OF_FRAMES = [*range(_PER_CHANNEL), 30, 31, 46, 47]
"""The statistics that frames of videos are compared by: without the bands of colour differences, which videos store at
half the size."""


@dataclass(frozen=True, eq=False)
class TrainingDomain:
    """Statistics of training photos, and the distance from them at which a photo is unlike them.

    The distance is Mahalanobis's (Lee et al. 2018, arXiv:1807.03888, with one class), not of a network's features but
    of `photo_statistics`: experiments/unlike/README.md says why.

    Attributes:
        mean: (F,) means of the statistics over training photos.
        scale: (F,) their standard deviations, positive.
        inverse: (F, F) inverse of their shrunk correlation matrix.
        threshold: photos of a larger distance are unlike the training photos.
        train_photos: how many photos the statistics are of.
        val_photos: how many photos the threshold is from.
        val_marked: how many of these have a larger distance.
        frame_threshold: the threshold for frames of videos, which are compared by fewer statistics; None where the
            domain was fitted before there was one.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    inverse: NDArray[np.float64]
    threshold: float
    train_photos: int
    val_photos: int
    val_marked: int
    frame_threshold: float | None = None

    @classmethod
    def fit(cls, train: NDArray[np.float64], val: NDArray[np.float64]) -> TrainingDomain:
        """Fit means and correlations to statistics (N, F) of train, and the threshold to those and (M, F) of val.

        Raises:
            ValueError: train has less than two photos, or val none.
        """
        if len(train) < 2 or not len(val):
            raise ValueError(f"{len(train)} photos of train and {len(val)} of val; at least 2 and 1 are needed")
        mean, scale = train.mean(axis=0), train.std(axis=0) + _LEAST
        normed = (train - mean) / scale
        identity = np.eye(train.shape[1])
        inverse = np.linalg.inv((1 - _SHRINKAGE) * (normed.T @ normed) / len(train) + _SHRINKAGE * identity)
        threshold = _threshold([_distances(split, mean, scale, inverse) for split in (train, val)])
        marked = int((_distances(val, mean, scale, inverse) > threshold).sum())
        domain = cls(mean, scale, inverse, threshold, len(train), len(val), marked)
        frames = _threshold([domain.frame_distances(split) for split in (train, val)])
        return replace(domain, frame_threshold=frames)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TrainingDomain:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        mean, scale, inverse = (np.asarray(plain[key], dtype=np.float64) for key in ("mean", "scale", "inverse"))
        size = len(photo_statistics(np.zeros((_SIDE, _SIDE, 3), np.uint8)))
        if mean.shape != (size,) or scale.shape != (size,) or inverse.shape != (size, size) or scale.min() <= 0:
            raise ValueError(f"statistics of shapes {mean.shape}, {scale.shape} and {inverse.shape}")
        counts = (int(plain[key]) for key in ("train_photos", "val_photos", "val_marked"))
        frames = plain.get("frame_threshold")
        domain = cls(mean, scale, inverse, float(plain["threshold"]), *counts)
        return domain if frames is None else replace(domain, frame_threshold=float(frames))

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, for a checkpoint."""
        arrays = {key: getattr(self, key).tolist() for key in ("mean", "scale", "inverse")}
        return arrays | self.summary() | {"frame_threshold": self.frame_threshold}

    def summary(self) -> dict[str, float]:
        """Threshold and counts, for metrics.json."""
        return {key: getattr(self, key) for key in ("threshold", "train_photos", "val_photos", "val_marked")}

    def distances(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances (N,) of statistics (N, F) from the training photos."""
        return _distances(statistics, self.mean, self.scale, self.inverse)

    def is_unlike(self, photos: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """Tell which photos, each (H, W, 3) at the size that the network was trained at, look unlike the training's."""
        return [bool(self.distances(photo_statistics(photo)[None])[0] > self.threshold) for photo in photos]

    def frame_distances(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances (N,) of statistics (N, F) from the training photos, by those that videos keep."""
        kept = np.ix_(_OF_FRAMES, _OF_FRAMES)
        # the shrunk correlations of some statistics are a part of those of all
        inverse = np.linalg.inv(np.linalg.inv(self.inverse)[kept])
        return _distances(statistics[:, _OF_FRAMES], self.mean[_OF_FRAMES], self.scale[_OF_FRAMES], inverse)

    def is_unlike_frame(self, frame: NDArray[np.uint8]) -> bool | None:
        """Tell if a video's frame (H, W, 3), at the size that the network was trained at, is unlike the training's.

        Returns:
            None where the domain has no threshold for frames.
        """
        if self.frame_threshold is None:
            return None
        return bool(self.frame_distances(photo_statistics(frame)[None])[0] > self.frame_threshold)


def photo_statistics(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The statistics (48,) of a photo (H, W, 3) in RGB, of at least 8 pixels a side.

    Of luma and both colour differences, 16 each: the logarithm of the power in 14 bands of spatial frequency, which are
    the diagonals of 8x8 cosine transforms; the mean; the logarithm of the standard deviation.
    """
    colors = pixels.astype(np.float32) / 255
    luma = colors @ _LUMA
    height, width = (side // _SIDE * _SIDE for side in luma.shape)
    statistics: list[float] = []
    for channel in (luma, colors[..., 2] - luma, colors[..., 0] - luma):
        blocks = channel[:height, :width].reshape(height // _SIDE, _SIDE, width // _SIDE, _SIDE).swapaxes(1, 2)
        power = np.square(dctn(blocks, axes=(2, 3), norm="ortho").reshape(-1, _SIDE**2)).mean(axis=0)
        bands = np.bincount(_BANDS, power) / np.bincount(_BANDS)
        statistics += [*np.log(bands[1:] + _LEAST), channel.mean(), np.log(channel.std() + 1e-3)]
    return np.array(statistics, dtype=np.float64)


def _threshold(splits: Sequence[NDArray[np.float64]]) -> float:
    """The least distance beyond which no more than `MOST_MARKED` of each split lie.

    Val may be of one place alone, nearer to the mean than much of train.
    """
    return max(float(np.sort(each)[len(each) - 1 - int(MOST_MARKED * len(each))]) for each in splits)


def _distances(
    statistics: NDArray[np.float64],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> NDArray[np.float64]:
    normed = (statistics - mean) / scale
    return np.einsum("ni,ij,nj->n", normed, inverse, normed) / len(mean)

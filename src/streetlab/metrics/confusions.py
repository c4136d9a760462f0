"""Confusion matrices per image of a split, and the file confusions.npz that keeps them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.errors import UserError, did_you_mean
from streetlab.io import files
from streetlab.metrics.statistics.scores import image_counts

_NAMES = "names"
_IDS = "_ids"
_MATRICES = "_matrices"
_GROUPS = "_groups"
_LARGEST = np.iinfo(np.uint32).max
# what NumPy and zipfile raise for half a file, another kind of file, and missing or ill-shaped arrays
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Confusions:
    """Confusion matrices of a segmentation model on one split, one entry per image.

    Args:
        ids: N paths of the images under the data set's root.
        matrices: (N, K, K) int64 pixel counts; the row is the true class, the column the predicted one; ignored
            pixels are in none.
        names: K class names; the position is the class's id.
        groups: N names of what each image is a frame of (a video, a sequence, a city); empty for one that stands
            alone. Images of one group are no independent evidence. Records from before have none.
    """

    ids: Sequence[str]
    matrices: NDArray[np.int64]
    names: Sequence[str]
    groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrices", np.asarray(self.matrices, dtype=np.int64))
        n, k = len(self.ids), len(self.names)
        object.__setattr__(self, "groups", list(self.groups) or [""] * n)
        if len(self.groups) != n:
            raise ValueError(f"Confusions.groups: {len(self.groups)} names for {n} ids")
        if self.matrices.shape != (n, k, k):
            raise ValueError(
                f"Confusions.matrices: shape {self.matrices.shape}, expected {(n, k, k)} for {n} ids and {k} names"
            )
        if n and (self.matrices.min() < 0 or self.matrices.max() > _LARGEST):
            raise ValueError(
                f"Confusions.matrices: counts {self.matrices.min()}..{self.matrices.max()}, allowed 0..{_LARGEST}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> NDArray[np.float64]:
        """(N, K, 3) hits, predicted and true pixels, see `statistics.scores`."""
        return image_counts(self.matrices)

    @property
    def right(self) -> None:
        """Nothing: an image is neither right nor wrong."""
        return

    @property
    def strata(self) -> NDArray[np.int64]:
        """(N,) zeros: images are resampled as one stratum."""
        return np.zeros(len(self), dtype=np.int64)

    @property
    def total(self) -> NDArray[np.int64]:
        """(K, K), the sum over the images."""
        return self.matrices.sum(axis=0)


def join_confusions(parts: Sequence[Confusions]) -> Confusions:
    """The images of all parts as one split, in the order of the parts.

    Raises:
        ValueError: no part, or parts with other class names.
    """
    if len({tuple(part.names) for part in parts}) != 1:
        raise ValueError(f"join_confusions: the {len(parts)} parts must share one list of class names")
    return Confusions(
        ids=[identity for part in parts for identity in part.ids],
        matrices=np.concatenate([part.matrices for part in parts]),
        names=parts[0].names,
        groups=[group for part in parts for group in part.groups],
    )


SplitConfusions = tuple[Sequence[str], ArrayLike] | tuple[Sequence[str], ArrayLike, Sequence[str]]
"""N ids, their (N, K, K) matrices, and where known the N groups."""


def write_confusions(path: Path, by_split: Mapping[str, SplitConfusions], names: Sequence[str]) -> Path:
    """Write confusions.npz atomically: `names`, and `<split>_ids`, `<split>_matrices` (uint32) for each split.

    Where an image is in a group there are `<split>_groups` too.

    Args:
        by_split: what is known of each split.
        names: K class names, shared by the splits.

    Raises:
        ValueError: shapes that do not fit, or counts that are negative or beyond 32 bits.
        UserError: the file cannot be written.
    """
    arrays: dict[str, NDArray] = {_NAMES: np.asarray(list(names), dtype=np.str_)}
    for split, (ids, matrices, *groups) in by_split.items():
        part = Confusions(list(ids), np.asarray(matrices, dtype=np.int64), names, *groups)
        arrays[split + _IDS] = np.asarray(part.ids, dtype=np.str_)
        arrays[split + _MATRICES] = part.matrices.astype(np.uint32)
        if any(part.groups):
            arrays[split + _GROUPS] = np.asarray(part.groups, dtype=np.str_)
    return files.write_bytes(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_confusions(path: Path, split: str) -> Confusions:
    """Read one split of confusions.npz.

    Raises:
        UserError: no such file, no such split (the nearest is named), or the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            splits = [key.removesuffix(_MATRICES) for key in archive.files if key.endswith(_MATRICES)]
            if split not in splits:
                allowed = ", ".join(splits) or "none"
                raise UserError(f"{path}: no split {split!r}; it holds {allowed}{did_you_mean(split, splits)}")
            return Confusions(
                ids=archive[split + _IDS].tolist(),
                matrices=archive[split + _MATRICES].astype(np.int64),
                names=tuple(archive[_NAMES].tolist()),
                groups=archive[split + _GROUPS].tolist() if split + _GROUPS in archive.files else (),
            )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; only completed segmentation runs have one") from None
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged ({error}); run the test again with `streetlab evaluate`") from None

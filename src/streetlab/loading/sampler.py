"""Order the training samples by seed, epoch and the samples' ids only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

Key = tuple[int, int]
"""(epoch, row): what a data set is asked for, so that workers know the epoch without being told."""


def sample_keys(ids: Sequence[str]) -> np.ndarray:
    """64 bits for each sample id, the same on every machine: (N,) uint64."""
    digests = (hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def mix(keys: np.ndarray, salt: int) -> np.ndarray:
    """Scramble 64-bit keys with a salt (the finaliser of splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = keys ^ (np.uint64(salt & 0xFFFFFFFFFFFFFFFF) * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


class EpochBatches(Sampler[list[Key]]):
    """Batches of (epoch, row) keys for one process.

    Training rows are sorted by a scrambled key, so that adding a sample leaves the others' order alone.
    Every rank gets the same number of training rows; evaluation rows are dealt out without repeating any.

    Args:
        keys: (N,) uint64, `sample_keys` of the data set.
        batch_size: rows per batch and process.
        seed: the run's.
        epoch: asked anew at every pass, since Lightning prefetches before it tells a sampler the epoch.
        shuffle: training order; otherwise rows come in their own order.
        rank, world_size: this process and how many there are.
    """

    def __init__(
        self,
        keys: np.ndarray,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.keys, self.batch_size, self.seed = keys, batch_size, seed
        self._epoch, self.shuffle = epoch, shuffle
        self.rank, self.world_size = rank, world_size
        rows = len(keys) // world_size if shuffle else len(range(rank, len(keys), world_size))
        # a last batch of one crashes BatchNorm on 1x1 maps
        if shuffle and rows > 1 and rows % batch_size == 1:
            rows -= 1
        self._rows = rows

    def __len__(self) -> int:
        return -(-self._rows // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self._epoch()
        if self.shuffle:
            scrambled = mix(mix(self.keys, self.seed + 1), epoch + 1)
            order = np.argsort(scrambled, kind="stable")
        else:
            order = np.arange(len(self.keys))
        mine = order[self.rank :: self.world_size][: self._rows].tolist()
        for start in range(0, len(mine), self.batch_size):
            yield [(epoch, row) for row in mine[start : start + self.batch_size]]

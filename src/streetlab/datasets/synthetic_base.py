"""Base of synthetic data sets: pictures are numbered, and a picture's number is its seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streetlab.datasets.source import DataSource
from streetlab.errors import UserError

MAX_SIDE = 4096
"""Pixels of the longest side that is drawn."""
_MOST = 1_000_000


class SyntheticBase(DataSource):
    """Pictures numbered from `first_seed`: train first, then val, then test; no two splits share a seed.

    Attributes:
        seeds: those of each split.
    """

    def __init__(
        self,
        name: str,
        train: int,
        val: int,
        test: int,
        cache_dir: str | Path,
        first_seed: int = 0,
        on_error: str = "fail",
        on_device: bool = False,
    ) -> None:
        super().__init__(name, cache_dir, on_error, on_device)
        sizes = {"train": train, "val": val, "test": test}
        for split, size in sizes.items():
            if size < 1:
                raise UserError(f"dataset.{split}: {size} pictures; each split needs at least one")
            if size > _MOST:
                raise UserError(f"dataset.{split}: {size} pictures are more than {_MOST}, the most that are drawn")
        if first_seed < 0:
            raise UserError(f"dataset.first_seed: {first_seed} is below 0")
        starts = {"train": first_seed, "val": first_seed + train, "test": first_seed + train + val}
        self.seeds = {split: range(starts[split], starts[split] + sizes[split]) for split in starts}


def scene_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of a drawn scene, from `dataset.size`."""
    if len(size) != 2 or min(size) < 32 or max(size) > MAX_SIDE:
        raise UserError(f"dataset.size: {list(size)} is not [height, width] of 32 to {MAX_SIDE} each")
    return int(size[0]), int(size[1])

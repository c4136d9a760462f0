"""The LightningDataModule: cached uint8 rows in, augmented and normalised batches on the device out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from streetlab.data.augment import Augment, draws, normalize
from streetlab.data.cache import CachedSplit, open_cache
from streetlab.data.index.labels import LabelSpace
from streetlab.data.sampler import EpochBatches, Key, sample_keys
from streetlab.data.source import DataSource, Sample

Batch = dict[str, Any]


class CachedRows(Dataset):
    """Whole batches of a cached split: images `(B, h, w, 3)` uint8, labels, rows and the epoch."""

    def __init__(self, cached: CachedSplit) -> None:
        self.images = cached.images
        self.labels = np.array([sample.label for sample in cached.samples], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        rows = np.fromiter((row for _, row in keys), np.int64, len(keys))
        return {
            "images": torch.from_numpy(self.images[rows]),
            "labels": torch.from_numpy(self.labels[rows]),
            "rows": torch.from_numpy(rows),
            "epoch": keys[0][0],
        }


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _epoch(trainer: pl.Trainer | None) -> int:
    """The epoch about to be drawn; `current_epoch` lags by one while the hooks of an epoch's end run."""
    if trainer is None:
        return 0
    return trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]


class StreetData(pl.LightningDataModule):
    """Train, val and test batches of one data source.

    A batch on the device is a dict: `images (B, 3, H, W)` float32, ImageNet-normalised; `labels (B,)` int64;
    `rows (B,)` int64, the samples' places in `samples[split]`.

    Args:
        source: where images come from.
        augment: what happens to training images.
        image_size: height and width that the network sees.
        batch_size: per process.
        num_workers: processes that copy rows; the batches are the same for any number.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        source: DataSource,
        augment: Augment,
        image_size: tuple[int, int],
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source, self.augment = source, augment
        self.image_size, self.batch_size = image_size, batch_size
        self.num_workers, self.seed = num_workers, seed
        self._cached: dict[str, CachedSplit] = {}
        self._keys: dict[str, np.ndarray] = {}

    @property
    def label_space(self) -> LabelSpace:
        return self.source.label_space

    def setup(self, stage: str | None = None) -> None:
        """Open the caches, decoding what no entry holds yet; several processes may do so at once."""
        for split in ("train", "val", "test"):
            if split not in self._cached:
                self._cached[split] = open_cache(self.source, split, self._cache_size(split))
                self._keys[split] = sample_keys([sample.id for sample in self._cached[split].samples])

    def samples(self, split: str) -> list[Sample]:
        """The split's samples that decoded; a batch's `rows` index this list."""
        return self._cached[split].samples

    def train_dataloader(self) -> DataLoader:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        images: Tensor = batch["images"].permute(0, 3, 1, 2)
        if self.trainer is None or not self.trainer.training:
            batch["images"] = normalize(images)
            return batch
        keys = self._keys["train"][batch["rows"].cpu().numpy()]
        uniforms = draws(keys, self.seed, batch["epoch"])
        batch["images"] = self.augment(images, uniforms, self.image_size)
        return batch

    def _cache_size(self, split: str) -> tuple[int, int]:
        return self.augment.source_size(self.image_size) if split == "train" else self.image_size

    def _loader(self, split: str) -> DataLoader:
        trainer = self.trainer
        batches = EpochBatches(
            self._keys[split],
            self.batch_size,
            self.seed,
            epoch=lambda: _epoch(trainer),
            shuffle=split == "train",
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return DataLoader(
            CachedRows(self._cached[split]),
            batch_sampler=batches,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # rows come as whole batches
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

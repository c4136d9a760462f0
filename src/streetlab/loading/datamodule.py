"""The LightningDataModule: read cached uint8 images, augment and normalise batches on the device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Required, TypedDict, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.source import DataSource, Sample
from streetlab.errors import UserError
from streetlab.lightning_compat import next_epoch
from streetlab.loading.augment import Augment, draws, normalize
from streetlab.loading.cache import CachedSplit, open_cache
from streetlab.loading.coverage import check_classes, check_labels
from streetlab.loading.mix import Mix
from streetlab.loading.sampler import EpochBatches, Key, sample_keys
from streetlab.loading.transforms import Transforms
from streetlab.loading.workers import PREFETCHED, check_shared_memory, share


class Batch(TypedDict, total=False):
    """A batch of one split.

    Attributes:
        images: (B, H, W, 3) uint8 as they are cached; on the device (B, 3, H, W) float32, ImageNet-normalised.
        labels: (B,) int64, where photos carry labels.
        soft_labels: (B, K) float32, the classes' probabilities that a training batch learns instead of its labels.
        masks: (B, H, W), 255 = ignore, where pixels do; on the device int64.
        uniforms: of the augmentation (see `draws`), in training.
        rows: (B,) int64, the samples' places in `StreetData.samples(split)`.
        split: train, val or test.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor
    masks: Tensor
    uniforms: np.ndarray
    rows: Required[Tensor]
    split: Required[str]


class CachedBatches(Dataset):
    """Whole batches of a split: the rows' numbers, the epoch, and what is to be copied to the device for them.

    Args:
        keys: (N,) uint64, `sample_keys` of the split.
        seed: of the augmentation, whose `uniforms` (see `draws`) then come with each batch. They stay an array, which
            no transfer takes to the device: asked for there, the rows' numbers would have to be waited for.
    """

    def __init__(self, split: str, keys: np.ndarray, arrays: dict[str, np.ndarray], seed: int | None = None) -> None:
        self.split, self.keys, self.arrays, self.seed = split, keys, arrays, seed

    def __len__(self) -> int:
        return len(self.keys)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        rows = np.fromiter((row for _, row in keys), np.int64, len(keys))
        batch = cast("Batch", {name: torch.from_numpy(array[rows]) for name, array in self.arrays.items()})
        if self.seed is not None:
            batch["uniforms"] = draws(self.keys[rows], self.seed, keys[0][0])
        batch |= {"rows": torch.from_numpy(rows), "split": self.split}
        if get_worker_info() is not None:
            share(batch)
        return batch


def _as_it_is(batch: Batch) -> Batch:
    return batch


class StreetData(pl.LightningDataModule):
    """Train, val and test batches of one data source.

    Args:
        source: where images come from.
        augment: what happens to training images.
        image_size: height and width that the network sees.
        batch_size: per process.
        num_workers: processes that copy rows; the batches are the same for any number.
        seed: of order and augmentation.
        transforms: what happens to training images after `augment`.
        mix: what happens to whole training batches after that.

    Attributes:
        train_size: a smaller size that training images are reduced to at last, before `mix`; None leaves them.
    """

    def __init__(
        self,
        source: DataSource,
        augment: Augment,
        image_size: tuple[int, int],
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        transforms: Transforms | None = None,
        mix: Mix | None = None,
    ) -> None:
        super().__init__()
        self.transforms, self.mix = transforms, mix
        self.source, self.augment = source, augment.for_masks() if source.has_masks else augment
        self.image_size, self.batch_size = image_size, batch_size
        self.num_workers, self.seed = num_workers, seed
        self.train_size: tuple[int, int] | None = None
        self._tested = "test"
        self._cached: dict[str, CachedSplit] = {}
        self._keys: dict[str, np.ndarray] = {}
        self._resident: dict[str, dict[str, Tensor]] = {}
        self._checked = False

    @property
    def label_space(self) -> LabelSpace:
        return self.source.label_space

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits whose labels are known; the last one's numbers are reported."""
        return ("train", "val", "test") if self.source.eval_split == "test" else ("train", "val")

    def labelled_split(self, split: str) -> str:
        """Return the split that was asked for.

        Raises:
            UserError: there is no such split, or the data set withholds its labels.
        """
        if split not in self.splits:
            raise UserError(
                f"split: data set {self.source.name} has no labels for {split}; allowed: {', '.join(self.splits)}"
            )
        return split

    def setup(self, stage: str | None = None) -> None:
        """Open the splits that the stage needs: all, where none is named. What is trained on is checked once.

        Raises:
            UserError: see `open_cache` and `check_classes`.
        """
        stages = {"fit": ("train", "val"), "validate": ("val",), "test": (self._tested,)}
        trains = stage in (None, "fit") and not self._checked
        if trains:
            check_labels(self.source)  # before hours of decoding
        self.open(stages.get(stage or "", self.splits))
        if trains:
            check_classes(self.source, {split: self._cached[split] for split in self.splits if split in self._cached})
            self._checked = True

    def open(self, splits: Sequence[str]) -> None:
        """Open the splits' caches, decoding what no entry holds yet; several processes may do so at once."""
        for split in splits:
            if split not in self._cached:
                self._check_workers(split)
                self._cached[split] = open_cache(self.source, split, self._cache_size(split))
                self._keys[split] = sample_keys([sample.id for sample in self._cached[split].samples])

    def resize_batches(self, batch_size: int) -> None:
        """Give loaders that are built from now on the size that a trial found."""
        self.batch_size = batch_size

    def evaluating(self, split: str) -> StreetData:
        """Copy this for one evaluation, by `Trainer.validate` of val or `Trainer.test` of any other split.

        The copy shares all that is open; `train` too comes in its own order, without augmentation.
        """
        shared = copy.copy(self)
        shared._tested = split
        return shared

    def samples(self, split: str) -> list[Sample]:
        """The split's samples; a batch's `rows` index this list. None of a split without truth.

        Once the split has been opened, those that did not decode are left out.
        """
        if split not in self.splits:
            return []
        return self._cached[split].samples if split in self._cached else list(self.source.samples(split))

    def cached_image(self, split: str, row: int) -> np.ndarray:
        """One image `(h, w, 3)` uint8 as it is cached."""
        return np.array(self._cached[split].images[row])

    def cached_pair(self, split: str, row: int) -> tuple[np.ndarray, np.ndarray]:
        """One image `(h, w, 3)` uint8 and its mask `(h, w)` uint8 as they are cached."""
        cached = self._cached[split]
        assert cached.masks is not None
        return self.cached_image(split, row), np.array(cached.masks[row])

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader(self._tested)

    def train_batch(self, count: int, device: torch.device) -> Batch:
        """The first rows of train as a training step gets them: augmented, on the device."""
        batch = self._rows("train", augmented=True).__getitems__([(0, row) for row in range(count)])
        whole = copy.copy(self)
        whole.train_size = None  # a later phase may train at the full size
        return whole.on_after_batch_transfer(move_data_to_device(batch, device), 0)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.source.on_device:
            batch.update(cast("Batch", self._on_device(batch["split"], batch["rows"])))
        images: Tensor = batch["images"].permute(0, 3, 1, 2)
        masks: Tensor | None = batch.get("masks")
        if self.trainer is None or not self.trainer.training:
            batch["images"] = normalize(images)
            if masks is not None:
                batch["masks"] = masks.long()
            return batch
        uniforms = batch["uniforms"]
        if masks is None:
            batch["images"] = self.augment(images, uniforms, self.image_size)
        else:
            batch["images"], batch["masks"] = self.augment(images, uniforms, self.image_size, masks)
        if self.transforms is not None:
            batch["images"], transformed = self.transforms(batch["images"], uniforms, batch.get("masks"))
            if transformed is not None:
                batch["masks"] = transformed
        if self.train_size is not None:
            batch["images"] = F.interpolate(batch["images"], self.train_size, mode="bilinear", antialias=True)
            if masks is not None:
                reduced = F.interpolate(batch["masks"][:, None].float(), self.train_size, mode="nearest-exact")
                batch["masks"] = reduced[:, 0].long()
        if self.mix is not None:
            batch["images"], batch["soft_labels"] = self.mix(
                batch["images"], batch.get("soft_labels", batch["labels"]), uniforms
            )
        return batch

    def _arrays(self, split: str) -> dict[str, np.ndarray]:
        cached = self._cached[split]
        if cached.masks is not None:
            return {"images": cached.images, "masks": cached.masks}
        labels = np.array([sample.label for sample in cached.samples], dtype=np.int64)
        return {"images": cached.images, "labels": labels}

    def _on_device(self, split: str, rows: Tensor) -> dict[str, Tensor]:
        """The rows' images and labels, from the whole split in the device's memory."""
        if split not in self._resident:
            arrays = self._arrays(split)
            size = sum(array.nbytes for array in arrays.values())
            try:
                self._resident[split] = {
                    name: torch.from_numpy(np.array(array)).to(rows.device) for name, array in arrays.items()
                }
            except torch.OutOfMemoryError:
                raise UserError(
                    f"dataset.on_device: {split} needs {size / 1e9:.1f} GB of the device's memory and there is less; "
                    "use dataset.on_device=false"
                ) from None
        return {name: array[rows] for name, array in self._resident[split].items()}

    def _cache_size(self, split: str) -> tuple[int, int]:
        return self.augment.source_size(self.image_size) if split == "train" else self.image_size

    def _check_workers(self, split: str) -> None:
        height, width = self._cache_size(split)
        pixel = 0 if self.source.on_device else 3 + self.source.has_masks
        samples = len(self.samples(split) or self.source.samples(split))  # test may be opened without its truth
        batch = min(self.batch_size, samples)
        check_shared_memory(self.num_workers, batch * height * width * pixel, -(-samples // self.batch_size))

    def _rows(self, split: str, augmented: bool) -> CachedBatches:
        arrays = {} if self.source.on_device else self._arrays(split)
        soft = self.source.soft_labels(self._cached[split].samples) if augmented else None
        if soft is not None:
            arrays["soft_labels"] = soft
        return CachedBatches(split, self._keys[split], arrays, self.seed if augmented else None)

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader:
        trainer = self.trainer
        self._check_workers(split)  # once more, since the batch size may be found by trial
        batches = EpochBatches(
            self._keys[split],
            self.batch_size,
            self.seed,
            epoch=lambda: next_epoch(trainer) if trainer else 0,
            shuffle=shuffle,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return DataLoader(
            self._rows(split, augmented=shuffle),
            batch_sampler=batches,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # rows come as whole batches
            num_workers=self.num_workers,
            prefetch_factor=PREFETCHED if self.num_workers else None,
            persistent_workers=self.num_workers > 0,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

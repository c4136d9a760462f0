"""Batches are the same for any number of workers and follow the epoch; evaluation sees cached photos."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torchvision.transforms.v2 import functional as TF

from streetlab.datasets.image_folder import ImageFolder
from streetlab.loading.augment import Augment, draws, normalize
from streetlab.loading.cache import open_cache
from streetlab.loading.datamodule import StreetData
from streetlab.loading.sampler import EpochBatches, sample_keys

SIZE = (16, 16)
TREE = {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("clean", "medium", "litter")}


@pytest.fixture
def source(tmp_path: Path, photo_tree) -> ImageFolder:
    return ImageFolder("photos", photo_tree(tmp_path / "photos", TREE), tmp_path / "cache", labels="cleanliness")


def strong(**options: float) -> Augment:
    return Augment(scale=[0.5, 1.0], flip=0.5, rotation=10.0, brightness=0.2, contrast=0.2, **options)


class Recorder(pl.LightningModule):
    """Trains nothing; keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.train_batches: list[tuple[int, list[int], torch.Tensor, torch.Tensor]] = []
        self.val_batches: list[dict[str, Any]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        rows = batch["rows"].tolist()
        self.train_batches.append((self.current_epoch, rows, batch["images"].clone(), batch["labels"].clone()))
        return self.layer(batch["images"].mean().view(1, 1)).sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.val_batches.append(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.val_batches.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(source: ImageFolder, workers: int, epochs: int = 3, augment: Augment | None = None, **options: Any):
    data = StreetData(source, augment or strong(), SIZE, 5, num_workers=workers, seed=3)
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        num_sanity_val_steps=1, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(recorder, datamodule=data)
    return recorder, data, trainer


def digest(recorder: Recorder) -> list[tuple[int, tuple[int, ...], str]]:
    return [
        (epoch, tuple(rows), hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest())
        for epoch, rows, images, labels in recorder.train_batches
    ]


def test_two_workers_kept_over_epochs_give_the_batches_of_none(source: ImageFolder) -> None:
    alone, _, _ = fit(source, workers=0)
    helped, _, _ = fit(source, workers=2)
    assert len(alone.train_batches) == 9
    assert digest(alone) == digest(helped)


def test_every_epoch_has_its_own_order_and_images(source: ImageFolder) -> None:
    recorder, data, _ = fit(source, workers=0)
    keys = sample_keys([sample.id for sample in data.samples("train")])
    cached = open_cache(source, "train", strong().source_size(SIZE))
    for epoch in range(3):
        wanted = list(EpochBatches(keys, 5, 3, lambda epoch=epoch: epoch, shuffle=True))
        found = [batch for batch in recorder.train_batches if batch[0] == epoch]
        assert [rows for _, rows, _, _ in found] == [[row for _, row in batch] for batch in wanted]
        for _, rows, images, labels in found:
            raw = torch.from_numpy(cached.images[rows]).permute(0, 3, 1, 2)
            assert torch.equal(images, strong()(raw, draws(keys[rows], 3, epoch), SIZE))
            assert labels.tolist() == [cached.samples[row].label for row in rows]
    by_epoch = {tuple(rows for e, rows, _ in digest(recorder) if e == epoch) for epoch in range(3)}
    assert len(by_epoch) == 3


def test_the_epoch_counts_on_where_validation_is_seldom_or_absent(source: ImageFolder) -> None:
    every, _, _ = fit(source, workers=0)
    seldom, _, _ = fit(source, workers=2, check_val_every_n_epoch=2)
    none, _, _ = fit(source, workers=0, limit_val_batches=0)
    assert digest(every) == digest(seldom) == digest(none)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_exactly_the_cached_photos_each_once(source: ImageFolder, workers: int) -> None:
    recorder, data, trainer = fit(source, workers, epochs=1)
    for split, run in {"val": trainer.validate, "test": trainer.test}.items():
        recorder.val_batches.clear()
        run(recorder, datamodule=data, verbose=False)
        cached = open_cache(source, split, SIZE)
        rows = torch.cat([batch["rows"] for batch in recorder.val_batches])
        assert rows.tolist() == list(range(12))
        images = torch.cat([batch["images"] for batch in recorder.val_batches])
        assert torch.equal(images, normalize(torch.from_numpy(np.array(cached.images)).permute(0, 3, 1, 2)))
        labels = torch.cat([batch["labels"] for batch in recorder.val_batches])
        assert labels.tolist() == [sample.label for sample in data.samples(split)]


def test_validation_within_fit_is_not_augmented(source: ImageFolder) -> None:
    recorder, _, _ = fit(source, workers=0, epochs=1)
    cached = open_cache(source, "val", SIZE)
    for batch in recorder.val_batches:
        raw = torch.from_numpy(cached.images[batch["rows"].numpy()]).permute(0, 3, 1, 2)
        assert torch.equal(batch["images"], normalize(raw))


def test_a_skipped_photo_takes_its_label_with_it(source: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "photos/train/clean/0.png").write_text("no photo")
    skipping = ImageFolder("photos", tmp_path / "photos", tmp_path / "cache", labels="cleanliness", on_error="skip")
    recorder, data, _ = fit(skipping, workers=0, epochs=1)
    samples = data.samples("train")
    assert len(samples) == 11
    for _, rows, _, labels in recorder.train_batches:
        assert labels.tolist() == [samples[row].label for row in rows]


def test_a_smaller_training_size_reduces_images_smoothly_and_masks_to_the_nearest(source: ImageFolder) -> None:
    data = StreetData(source, Augment(), (64, 64), 4)
    data.trainer = cast("pl.Trainer", SimpleNamespace(training=True))
    data.train_size = (32, 32)
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    masks = (torch.arange(64) // 16).to(torch.uint8).expand(2, 64, 64).clone()
    uniforms = draws(sample_keys(["a", "b"]), 0, 0)
    batch = data.on_after_batch_transfer(
        {"images": pixels, "masks": masks, "uniforms": uniforms, "rows": torch.arange(2), "split": "train"}, 0
    )
    expected = TF.resize(normalize(pixels.permute(0, 3, 1, 2)), [32, 32], antialias=True)
    torch.testing.assert_close(batch["images"], expected)
    assert torch.equal(batch["masks"], (torch.arange(32) // 8).expand(2, 32, 32))


def test_training_batches_carry_soft_labels_and_others_do_not(tmp_path: Path, photo_tree) -> None:
    votes, root = tmp_path / "votes.csv", photo_tree(tmp_path / "photos", TREE)
    votes.write_text("photo,Clean,Medium,Litter\ntrain/medium/0.png,0,1,3\n")
    voted = ImageFolder("photos", root, tmp_path / "cache", labels="cleanliness", soft_labels=votes)
    data = StreetData(voted, Augment(), SIZE, 5)
    data.open(["train"])
    row = [sample.id for sample in data.samples("train")].index("train/medium/0.png")
    batch = data._rows("train", augmented=True).__getitems__([(0, row), (0, (row + 4) % 12)])
    assert batch["soft_labels"][0].tolist() == [0, 0.25, 0.75]
    assert batch["soft_labels"][1].argmax() == batch["labels"][1]
    assert "soft_labels" not in data._rows("train", augmented=False).__getitems__([(0, row)])

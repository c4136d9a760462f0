"""Train a classifier as the Lightning-Hydra template does: ImageFolder, DataLoader, torchmetrics, callbacks, a CSV log.

The network, optimizer, schedule and augmentation are streetlab's defaults, so that only the loop differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import timm
import torch
from torch.utils.data import DataLoader
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Photos(pl.LightningDataModule):
    """The photos of root/{train,val}/<class>/, decoded anew in every epoch."""

    def __init__(self, root: Path, size: int, batch_size: int, workers: int) -> None:
        super().__init__()
        self.root, self.batch_size, self.workers = root, batch_size, workers
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        self.train_steps = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(0.8, 1.0)),
                v2.RandomHorizontalFlip(),
                v2.RandomRotation(7),
                v2.ColorJitter(0.15, 0.15, 0.15, 0.02),
                *to_tensor,
            ]
        )
        self.val_steps = v2.Compose([v2.Resize((size, size)), *to_tensor])

    def setup(self, stage: str) -> None:
        self.train = ImageFolder(self.root / "train", self.train_steps)
        self.val = ImageFolder(self.root / "val", self.val_steps)

    def _loader(self, photos: ImageFolder, shuffle: bool) -> DataLoader:
        kept = self.workers > 0
        return DataLoader(photos, self.batch_size, shuffle=shuffle, num_workers=self.workers, persistent_workers=kept)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.val, shuffle=False)


class Classifier(pl.LightningModule):
    """The template's module, with a network of timm."""

    def __init__(self, network: str, epochs: int, lr: float) -> None:
        super().__init__()
        self.net = timm.create_model(network, num_classes=3)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.epochs, self.lr = epochs, lr
        self.train_acc, self.val_acc = MulticlassAccuracy(3, average="micro"), MulticlassAccuracy(3, average="micro")
        self.train_loss, self.val_loss, self.val_acc_best = MeanMetric(), MeanMetric(), MaxMetric()

    def _step(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images, labels = batch
        logits = self.net(images)
        return self.criterion(logits, labels), logits.argmax(1), labels

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss, predicted, labels = self._step(batch)
        self.train_loss(loss)
        self.train_acc(predicted, labels)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss, predicted, labels = self._step(batch)
        self.val_loss(loss)
        self.val_acc(predicted, labels)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute())

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=1e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Pace(pl.Callback):
    """Images per second of every epoch's training, and the scores on val."""

    def __init__(self) -> None:
        self.images: list[int] = []
        self.seconds: list[float] = []
        self.scores: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.images.append(0)
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images[-1] += len(batch[1])
        if batch_idx + 1 == trainer.num_training_batches:
            self.seconds.append(time.perf_counter() - self._started)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.scores.append(float(trainer.callback_metrics["val/acc"]))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("root", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("size", "batch-size", "epochs", "seed", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="32-true")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    pl.seed_everything(options.seed, workers=True)
    pace = Pace()
    trainer = pl.Trainer(
        accelerator="auto",
        max_epochs=options.epochs,
        precision=options.precision,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=pl.loggers.CSVLogger(options.output),
        callbacks=[
            pace,
            pl.callbacks.ModelCheckpoint(options.output, monitor="val/acc", mode="max", save_last=True),
            pl.callbacks.EarlyStopping(monitor="val/acc", patience=100, mode="max"),
        ],
    )
    data = Photos(options.root, options.size, options.batch_size, options.workers)
    trainer.fit(Classifier(options.network, options.epochs, options.lr), data)
    later = slice(1, None) if options.epochs > 1 else slice(None)
    rate = sum(pace.images[later]) / sum(pace.seconds[later])
    print(json.dumps({"images_per_second": rate, "scores": pace.scores}))


if __name__ == "__main__":
    main()

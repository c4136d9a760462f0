"""Train a segmentation network in the manner of torchvision's references/segmentation/train.py.

Random resize by 0.5 to 2, flip and crop of Pillow's images in workers; SGD, a polynomial schedule for each step, a
confusion matrix on val after each epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler
from torchvision.transforms import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Masks(Dataset):
    """Images and masks; `transforms` takes and returns both."""

    def __init__(self, pairs: list[tuple[str, str]], transforms: object) -> None:
        self.pairs, self.transforms = pairs, transforms

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = (Image.open(path) for path in self.pairs[index])
        return self.transforms(image.convert("RGB"), mask)


class ForTraining:
    """The reference's preset: resize by 0.5 to 2, flip, crop, normalise."""

    def __init__(self, height: int, width: int, ignored: int) -> None:
        self.height, self.width, self.ignored = height, width, ignored

    def __call__(self, image: Image.Image, mask: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        factor = random.uniform(0.5, 2.0)
        size = [max(1, round(self.height * factor)), max(1, round(self.width * factor))]
        image = F.resize(image, size, antialias=True)
        mask = F.resize(mask, size, F.InterpolationMode.NEAREST)
        if random.random() < 0.5:
            image, mask = F.hflip(image), F.hflip(mask)
        right, below = max(0, self.width - image.width), max(0, self.height - image.height)
        image = F.pad(image, [0, 0, right, below], fill=0)
        mask = F.pad(mask, [0, 0, right, below], fill=self.ignored)
        top = random.randint(0, image.height - self.height)
        left = random.randint(0, image.width - self.width)
        box = (top, left, self.height, self.width)
        return to_tensors(F.crop(image, *box), F.crop(mask, *box))


class ForEvaluation:
    """One size, no chance."""

    def __init__(self, height: int, width: int) -> None:
        self.size = [height, width]

    def __call__(self, image: Image.Image, mask: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        return to_tensors(F.resize(image, self.size), F.resize(mask, self.size, F.InterpolationMode.NEAREST))


def to_tensors(image: Image.Image, mask: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    return F.normalize(F.to_tensor(image), MEAN, STD), torch.as_tensor(np.array(mask), dtype=torch.int64)


class ConfusionMatrix:
    """The reference's."""

    def __init__(self, classes: int) -> None:
        self.mat = torch.zeros((classes, classes), dtype=torch.int64)

    def update(self, truth: torch.Tensor, predicted: torch.Tensor) -> None:
        n = len(self.mat)
        known = (truth >= 0) & (truth < n)
        self.mat += torch.bincount(n * truth[known] + predicted[known], minlength=n**2).reshape(n, n)

    def miou(self) -> float:
        h = self.mat.float()
        union = h.sum(1) + h.sum(0) - torch.diag(h)
        return float((torch.diag(h) / union)[union > 0].mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("pairs", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("height", "width", "batch-size", "epochs", "seed", "workers", "classes", "ignored"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--amp", choices=["none", "bfloat16"], default="none")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    pairs = json.loads(options.pairs.read_text())
    train = Masks(pairs["train"], ForTraining(options.height, options.width, options.ignored))
    val = Masks(pairs["val"], ForEvaluation(options.height, options.width))
    loader = DataLoader(
        train, options.batch_size, sampler=RandomSampler(train), num_workers=options.workers, drop_last=True
    )
    val_loader = DataLoader(val, 1, sampler=SequentialSampler(val), num_workers=options.workers)
    network = smp.create_model(options.decoder, options.encoder, encoder_weights=None, classes=options.classes)
    if options.amp != "none":
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, len(loader) * options.epochs, power=0.9)
    autocast = contextlib.nullcontext
    if options.amp != "none":
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    options.output.mkdir(parents=True, exist_ok=True)
    images, seconds, scores = [], [], []
    for epoch in range(options.epochs):
        network.train()
        started, count = time.perf_counter(), 0
        for image, mask in loader:
            if options.amp != "none":
                image = image.contiguous(memory_format=torch.channels_last)
            with autocast():
                logits = network(image)
            loss = torch.nn.functional.cross_entropy(logits.float(), mask, ignore_index=options.ignored)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            count += len(image)
        seconds.append(time.perf_counter() - started)
        images.append(count)
        network.eval()
        matrix = ConfusionMatrix(options.classes)
        with torch.inference_mode():
            for image, mask in val_loader:
                with autocast():
                    logits = network(image)
                matrix.update(mask.flatten(), logits.argmax(1).flatten())
        scores.append(matrix.miou())
        state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, options.output / f"model_{epoch}.pth")
        torch.save(state, options.output / "checkpoint.pth")
    later = slice(1, None) if options.epochs > 1 else slice(None)
    print(json.dumps({"images_per_second": sum(images[later]) / sum(seconds[later]), "scores": scores}))


if __name__ == "__main__":
    main()

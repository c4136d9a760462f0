"""Pictures as files, and the usual way to read them: Pillow and torchvision in worker processes, a photo at a time.

The original study read its data so. Where no data set is given, drawn scenes are written in the layouts and at the
sizes of the real ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from short_training import Case
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from streetlab.datasets.labels import to_label_ids
from streetlab.datasets.mapping import mask_table
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.progress import track
from streetlab.synthetic import draw_scene

STREET_SIZE = (1024, 2048)
"""Of Cityscapes' photos, height and width; a drawn scene makes files of about their bytes."""
PHOTO_SIZE = (320, 480)
"""Usual among the original study's photos of clean and littered streets."""
_DIFFERENT = 24


def data_words(case: Case, root: Path | None, folder: Path, images: int) -> list[str]:
    """Words that choose files to train on: those of `root`, or drawn ones, written to `folder`.

    Args:
        root: CamVid's or Cityscapes' tree, or photos in a folder for each class.
        images: how many are trained on in an epoch, at least.
    """
    if not case.segments:
        name, path = "street_cleanliness", root or write_photos(folder, images)
    elif root is None:
        name, path = "cityscapes", write_streets(folder, images)
    else:
        name, path = ("camvid" if (root / "trainannot").is_dir() else "cityscapes"), root
    return [f"dataset={name}", f"dataset.root={path}"]


def write_streets(folder: Path, images: int) -> Path:
    """Synthetic scenes at Cityscapes' size in its folders; beyond two dozen, further names of the same files."""

    def write(number: int, stem: Path) -> list[Path]:
        scene = draw_scene(number, 256, 512)
        height, width = STREET_SIZE
        city = stem.parent.name
        image, mask = Image.fromarray(scene.image), Image.fromarray(to_label_ids(scene.mask))
        written = [
            folder / "leftImg8bit" / stem.parent / f"{city}_{stem.name}_leftImg8bit.png",
            folder / "gtFine" / stem.parent / f"{city}_{stem.name}_gtFine_labelIds.png",
        ]
        for path, picture, how in zip(
            written, (image, mask), (Image.Resampling.BICUBIC, Image.Resampling.NEAREST), strict=True
        ):
            _save(picture.resize((width, height), how), path)
        return written

    names = [f"{number:06d}_000019" for number in range(images + 1)]
    stems = [Path("train" if number else "val", "bonn", name) for number, name in enumerate(names)]
    drawn: list[list[Path]] = []
    for number, stem in enumerate(track(stems, "writing streets")):
        if number <= _DIFFERENT:
            drawn.append(write(number, stem))
            continue
        like = 1 + number % _DIFFERENT
        for path in drawn[like]:
            _link(path, path.with_name(path.name.replace(stems[like].name, stem.name)))
    return folder


def write_photos(folder: Path, images: int) -> Path:
    """Synthetic scenes in a folder for each class."""
    height, width = PHOTO_SIZE
    drawn: list[Path] = []
    for number in track(range(images), "writing photos"):
        label = ("clean", "medium", "litter")[number % 3]  # whatever is drawn: nobody looks at what is learned
        path = folder / "train" / label / f"{number:06d}.png"
        if number < _DIFFERENT:
            _save(Image.fromarray(draw_scene(number, height, width).image), path)
            drawn.append(path)
        else:
            _link(drawn[number % _DIFFERENT], path)
    for split in ("val", "test"):
        for path in drawn[:3]:
            _link(path, folder / split / path.parent.name / path.name)
    return folder


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=1)


def _link(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    os.link(old, new)


class _Files(Dataset):
    """The training photos of a data set, decoded, resized and made tensors whenever they are asked for."""

    def __init__(self, source: DataSource, case: Case) -> None:
        samples: list[Any] = list(source.samples("train"))
        if any(not isinstance(sample.path, Path) for sample in samples):
            raise UserError("--root: the original's loop reads files, not zips; unpack them")
        self._files = [(sample.path, sample.label, sample.mask_path) for sample in samples]
        steps: list[Callable] = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        if not case.segments:
            steps = [
                transforms.RandomResizedCrop(case.size, scale=(0.8, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(7),
                transforms.ColorJitter(0.15, 0.15, 0.10, 0.02),
                *steps,
            ]
        else:
            steps = [transforms.Resize(case.size, antialias=True), *steps]
            self._table = torch.from_numpy(mask_table(source.label_space, source.label_space, {}).ids).long()
        self._segments, self._size = case.segments, case.size
        self._steps = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        path, label, mask_path = self._files[index]
        image = self._steps(Image.open(path).convert("RGB"))
        if not self._segments:
            return image, label
        mask = Image.open(mask_path).resize(self._size[::-1], Image.Resampling.NEAREST)
        return image, self._table[torch.from_numpy(np.array(mask)).long()]


class DecodedBatches:
    """Batches without end from worker processes that decode every photo anew.

    Args:
        workers: processes; they go on while nobody asks, up to two batches each.
    """

    def __init__(self, source: DataSource, case: Case, batch_size: int, workers: int) -> None:
        files = _Files(source, case)
        endless = RandomSampler(files, replacement=True, num_samples=1 << 40)
        self._ahead = 2 * workers
        loader = DataLoader(
            files, batch_size, sampler=endless, num_workers=workers, pin_memory=torch.cuda.is_available()
        )
        self._batches: Iterator[list[Tensor]] = iter(loader)

    def drain(self) -> None:
        """Take what the workers did ahead of time, so that a clock that starts now sees their own pace."""
        for _ in range(self._ahead):
            next(self._batches)

    def __call__(self) -> tuple[Tensor, Tensor]:
        images, labels = next(self._batches)
        return images, labels

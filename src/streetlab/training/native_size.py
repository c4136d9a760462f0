"""Predict a split's photos at their own size, for full-resolution masks or a benchmark without masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from streetlab.datasets.decode import resize
from streetlab.datasets.labels import to_label_ids
from streetlab.datasets.source import Sample
from streetlab.io import files
from streetlab.io.parallel import in_order
from streetlab.loading.augment import normalize
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.progress import track
from streetlab.tasks.metrics import ImageConfusions
from streetlab.tasks.segmentation import SegmentationTask

_AHEAD = 4
"""Photos of full size that wait in memory."""


class NativeSize:
    """Predicts photos one by one, on the device and in the precision that the Trainer has.

    Args:
        mode: `resized`: the network sees the photo at training size, its scores are upsampled; `native`: it sees
            the photo at its own size.
    """

    def __init__(self, trainer: pl.Trainer, task: SegmentationTask, image_size: tuple[int, int], mode: str) -> None:
        self.trainer, self.task, self.image_size, self.mode = trainer, task, image_size, mode
        self.device = trainer.strategy.root_device

    @torch.inference_mode()
    def predict(self, photo: Image.Image) -> Tensor:
        """Class ids `(H, W)` int64 at the photo's size, on the device."""
        pixels = np.asarray(photo) if self.mode == "native" else resize(photo, self.image_size)
        images = torch.from_numpy(pixels.copy()).to(self.device).permute(2, 0, 1)[None]
        with self.trainer.precision_plugin.forward_context():
            scores = self.task.test_time(self.task.logits, normalize(images))
        size = (photo.height, photo.width)
        if tuple(scores.shape[-2:]) != size:
            scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return scores.argmax(dim=1)[0]

    def __enter__(self) -> NativeSize:
        self.task.to(self.device).eval()
        return self

    def __exit__(self, *_: object) -> None:
        self.task.cpu()


def evaluate_full_resolution(
    trainer: pl.Trainer, task: SegmentationTask, data: StreetData, split: str
) -> dict[str, Any]:
    """The split's numbers against masks of the photos' own size; all processes share the work and the result."""
    samples = data.samples(split)
    confusions = ImageConfusions(len(task.label_space)).to(trainer.strategy.root_device)
    sizes = set()
    mine = range(trainer.global_rank, len(samples), trainer.world_size)
    with NativeSize(trainer, task, data.image_size, task.full_resolution) as native, ThreadPoolExecutor() as pool:
        pairs = in_order(pool, lambda row: data.source.read_pair(samples[row]), mine, _AHEAD)
        for row, (photo, mask) in track(zip(mine, pairs, strict=True), f"{split} at full resolution", len(mine)):
            truth = torch.from_numpy(mask).to(native.device).long()
            confusions.update(native.predict(photo)[None], truth[None], torch.tensor([row], device=native.device))
            sizes.add(mask.shape)
    matrices = confusions.compute()[1].sum(axis=0)
    size = list(next(iter(sizes))) if len(sizes) == 1 else "each photo's own"
    summary = summarize_segmentation(matrices, task.label_space, len(samples))
    return {"resolution": size, "network_sees": task.full_resolution} | summary


def write_label_ids(
    trainer: pl.Trainer, task: SegmentationTask, data: StreetData, samples: Sequence[Sample], folder: Path
) -> None:
    """One PNG per photo of a split without truth, with the values that mask files of this data set have.

    File names are `<photo>_pred_labelIds.png`, as Cityscapes' benchmark server takes them.
    """
    mode = "resized" if task.full_resolution == "none" else task.full_resolution
    mine = samples[trainer.global_rank :: trainer.world_size]
    with NativeSize(trainer, task, data.image_size, mode) as native, ThreadPoolExecutor() as pool:
        photos = in_order(pool, data.source.read, mine, _AHEAD)
        written = []
        for sample, photo in track(zip(mine, photos, strict=True), "predicting test", len(mine)):
            ids = native.predict(photo).cpu().numpy().astype(np.uint8)
            mask = Image.fromarray(to_label_ids(ids, task.label_space))
            path = folder / f"{sample.id.rpartition('/')[2]}_pred_labelIds.png"
            written.append(pool.submit(files.write_bytes, path, partial(mask.save, format="PNG")))
        for future in written:
            future.result()

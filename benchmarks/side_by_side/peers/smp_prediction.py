"""Write a mask for each photo of a folder: a Dataset, a DataLoader and a network of segmentation_models_pytorch."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Photos(Dataset):
    """Each photo at the network's size, with its own size."""

    def __init__(self, files: list[Path], size: tuple[int, int]) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        photo = Image.open(self.files[index]).convert("RGB")
        resized = photo.resize(self.size[::-1], Image.Resampling.BILINEAR)
        return F.normalize(F.to_tensor(resized), MEAN, STD), photo.height, photo.width


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("photos", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("height", "width", "batch-size", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("decoder", "encoder", "classes"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--amp", choices=["none", "bfloat16"], default="none")
    options = parser.parse_args()
    classes = len(options.classes.split(","))
    model = smp.create_model(options.decoder, options.encoder, encoder_weights=None, classes=classes)
    model.load_state_dict(torch.load(options.weights, weights_only=True))
    model.eval()
    autocast = contextlib.nullcontext
    if options.amp != "none":
        model = model.to(memory_format=torch.channels_last)
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    files = sorted(options.photos.iterdir())
    loader = DataLoader(Photos(files, (options.height, options.width)), options.batch_size, num_workers=options.workers)
    options.output.mkdir(parents=True, exist_ok=True)
    place = 0
    with torch.inference_mode():
        for images, heights, widths in loader:
            with autocast():
                logits = model(images)
            for scores, height, width in zip(logits.float(), heights.tolist(), widths.tolist(), strict=True):
                enlarged = torch.nn.functional.interpolate(scores[None], (height, width), mode="bilinear")
                ids = enlarged[0].argmax(0).numpy().astype(np.uint8)
                Image.fromarray(ids).save(options.output / f"{files[place].stem}.png")
                place += 1
    print(json.dumps({"photos": place}))


if __name__ == "__main__":
    main()

"""Classify the photos of a folder in the manner of timm's inference.py: its reader, its loader, a table at the end."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from timm.data import create_dataset, create_loader


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("photos", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("size", "batch-size", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--amp", choices=["none", "bfloat16"], default="none")
    options = parser.parse_args()
    names = options.classes.split(",")
    model = timm.create_model(options.network, num_classes=len(names))
    model.load_state_dict(torch.load(options.weights, weights_only=True))
    model.eval()
    autocast = contextlib.nullcontext
    if options.amp != "none":
        model = model.to(memory_format=torch.channels_last)
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    photos = create_dataset("", root=options.photos, is_training=False, class_map="")
    loader = create_loader(
        photos, (3, options.size, options.size), options.batch_size, interpolation="bilinear", crop_pct=1.0,
        crop_mode="squash", num_workers=options.workers, use_prefetcher=False, device=torch.device("cpu"),
    )  # fmt: skip
    chunks = []
    with torch.inference_mode():
        for images, _ in loader:
            if options.amp != "none":
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast():
                chunks.append(model(images).float().softmax(1).numpy())
    probabilities = np.concatenate(chunks)
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in names])
    table.insert(0, "file", photos.filenames(basename=True))
    table.insert(1, "prediction", [names[place] for place in probabilities.argmax(1)])
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "predictions.csv", index=False)
    print(json.dumps({"photos": len(table)}))


if __name__ == "__main__":
    main()

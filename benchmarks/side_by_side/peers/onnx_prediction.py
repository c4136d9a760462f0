"""Classify the photos of a folder, or write a mask for each, with Pillow, NumPy and ONNX Runtime by hand."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("photos", "model", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("height", "width", "batch-size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--classes", required=True)
    options = parser.parse_args()
    names = options.classes.split(",")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    options.output.mkdir(parents=True, exist_ok=True)
    files = sorted(options.photos.iterdir())
    rows = []
    for start in range(0, len(files), options.batch_size):
        batch = files[start : start + options.batch_size]
        photos = [Image.open(file).convert("RGB") for file in batch]
        pixels = np.stack([np.asarray(photo.resize((options.width, options.height), 2)) for photo in photos])
        (logits,) = session.run(None, {name: pixels})
        if logits.ndim == 4:
            for file, photo, ids in zip(batch, photos, logits.argmax(1).astype(np.uint8), strict=True):
                Image.fromarray(ids).resize(photo.size, 0).save(options.output / f"{file.stem}.png")
            continue
        powers = np.exp(logits - logits.max(1, keepdims=True))
        for file, values in zip(batch, powers / powers.sum(1, keepdims=True), strict=True):
            rows.append([file.name, names[values.argmax()], *values])
    if rows:
        with (options.output / "predictions.csv").open("w", newline="") as target:
            csv.writer(target).writerows([["file", "prediction", *(f"p_{name}" for name in names)], *rows])
    print(json.dumps({"photos": len(files)}))


if __name__ == "__main__":
    main()

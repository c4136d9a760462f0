"""What a frozen network's features are worth: a logistic regression on them, cross-validated, for each image size.

`python experiments/quality/frozen_features.py split.json PHOTOS tf_efficientnet_lite0 160 192 224 256` uses the photos
that the split file calls train and val, never test: five folds by groups of copies, three times, joined. The last
column is the split file's own folds, joined, as `streetlab train dataset.folds=5` deals them: three train, one tests.
PHOTOS holds one folder per class; photo and mirrored photo both train and are averaged where they are tested.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import StratifiedGroupKFold

from streetlab.io.files import file_sha256
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

CLASSES = ("clean", "medium", "litter")
STRENGTHS = (0.003, 0.01, 0.03, 0.1)
"""Of the regression: inverse weights of its L2 penalty."""


def main(split_file: str, root: str, name: str, *sizes: str) -> None:
    known = json.loads(Path(split_file).read_text())["photos"]
    photos = [path for path in sorted(Path(root).rglob("*")) if path.parent.name in CLASSES and path.is_file()]
    entries = [known.get(file_sha256(path), {}) for path in photos]
    kept = [i for i, entry in enumerate(entries) if entry.get("split")]
    labels = np.array([CLASSES.index(photos[i].parent.name) for i in kept])
    groups = np.array([entries[i]["group"] for i in kept])
    folds = np.array([entries[i]["fold"] for i in kept])
    seen = np.array([entries[i]["split"] != "test" for i in kept])
    images = [Image.open(photos[i]).convert("RGB") for i in kept]
    print(f"{name}, {seen.sum()} photos of train and val; {len(kept)} in the folds\n")
    print("| size | seconds for all features | " + " | ".join(map(str, STRENGTHS)) + f" | folds, {STRENGTHS[1]} |")
    print("|---" * (3 + len(STRENGTHS)) + "|")
    for size in map(int, sizes):
        began = time.process_time()
        features = features_of(name, images, size)
        seconds = time.process_time() - began
        cells = [dealt(features[seen], labels[seen], groups[seen], strength) for strength in STRENGTHS]
        parts = [((folds != k) & (folds != (k + 1) % 5), folds == k) for k in range(5)]
        cells.append(scores(labels, joined(features, labels, parts, STRENGTHS[1])))
        print(f"| {size} | {seconds:.0f} | " + " | ".join(f"{a:.3f}, κ {k:.3f}" for a, k in cells) + " |", flush=True)


def features_of(name: str, images: list[Image.Image], size: int) -> NDArray[np.float32]:
    """(N, 2, C) features of each photo and of its mirror image."""
    network = timm_classifier(len(CLASSES), name, weights="imagenet").eval().to(memory_format=torch.channels_last)
    head = network.get_submodule("classifier")
    kept: list[torch.Tensor] = []
    head.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].float()))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pairs = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(images), 16):
            resized = [image.resize((size, size), Image.Resampling.BICUBIC) for image in images[start : start + 16]]
            pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in resized])
            batch = ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
            network(batch)
            network(batch.flip(-1))
            pairs.append(torch.stack([kept[-2], kept[-1]], 1))
    return torch.cat(pairs).numpy()


def dealt(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.str_], strength: float
) -> tuple[float, float]:
    """Accuracy and kappa of five joined folds by groups, the mean of three deals."""
    results = []
    for seed in range(3):
        parts = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(features, labels, groups)
        results.append(scores(labels, joined(features, labels, parts, strength)))
    accuracy, kappa = np.mean(results, axis=0)
    return float(accuracy), float(kappa)


def joined(
    features: NDArray[np.float32], labels: NDArray[np.int64], parts: Iterable[tuple[Any, Any]], strength: float
) -> NDArray[np.int64]:
    """The class of each photo, by a regression on the photos that train where it is tested."""
    predictions = np.zeros(len(labels), dtype=np.int64)
    for train, test in parts:
        mean, std = features[train].mean((0, 1)), features[train].std((0, 1)) + 1e-6
        views = ((features[train] - mean) / std).reshape(-1, features.shape[-1])
        model = LogisticRegression(C=strength, max_iter=300).fit(views, np.repeat(labels[train], 2))
        tested = (features[test] - mean) / std
        predictions[test] = sum(model.predict_proba(tested[:, side]) for side in (0, 1)).argmax(1)
    return predictions


def scores(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy, and kappa with quadratic weights."""
    return float(np.mean(predictions == labels)), cohen_kappa_score(labels, predictions, weights="quadratic")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The table of this study: which score tells real photos from drawn streets, for finished runs on drawn streets.

python experiments/unlike/measure.py CAMVID STREET_CLEANLINESS RUN [RUN ...]

The first two are folders of real photos. For each score, statistics are fitted to train, and a threshold to val so that
at most 5% of its photos are marked; of the photo statistics no more than 5% of train's either. The table holds the
shares of val, test and the real photos that are marked.
A second table does the same, by the photo statistics, for train and val of real photos.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from streetlab.config import instantiate
from streetlab.datasets.decode import read_photo, resize
from streetlab.datasets.training_domain import MOST_MARKED, TrainingDomain, photo_statistics
from streetlab.inference.predictor import Predictor
from streetlab.loading.augment import normalize
from streetlab.loading.cache import open_cache
from streetlab.metrics.statistics.intervals import wilson_interval
from streetlab.networks.cam.layers import FeatureLayer, find_layer
from streetlab.records.record import RunRecord

BATCH = 16
Sets = dict[str, list[NDArray[np.uint8]]]


def main() -> None:
    camvid, cleanliness, *runs = map(Path, sys.argv[1:])
    print("| run | score | val, at most 5% | test, drawn | CamVid test | street cleanliness test |")
    print("|---|---|---|---|---|---|")
    for path in runs:
        run = RunRecord(path)
        predictor = Predictor.from_run(run, device="cpu")
        size = predictor.image_size
        source = instantiate(OmegaConf.create(run.config).dataset)
        sets: Sets = {}
        for split in ("train", "val", "test"):
            sets[split] = [np.array(image) for image in open_cache(source, split, size).images]
        sets["camvid"] = [resize(read_photo(file), size) for file in sorted(camvid.glob("test/*"))]
        sets["cleanliness"] = [resize(read_photo(file), size) for file in sorted(cleanliness.glob("test/*/*"))]
        energies, features = network_scores(predictor, sets)
        fitted = TrainingDomain.fit(
            *(np.array([photo_statistics(image) for image in sets[split]]) for split in ("train", "val"))
        )
        statistics = {
            name: fitted.distances(np.array([photo_statistics(image) for image in images]))
            for name, images in sets.items()
        }
        table = {
            "energy of the logits": energies,
            "features before the head, diagonal": distances(features, correlated=False),
            "features before the head, Mahalanobis": distances(features, correlated=True),
            "photo statistics, Mahalanobis": statistics,
        }
        for score, values in table.items():
            cells = " | ".join(share(values[name], threshold(values["val"])) for name in list(sets)[1:])
            print(f"| {run.name} | {score} | {cells} |")
        if predictor.domain is None:
            continue  # trained before marks were made
        marks = [cell(sum(predictor.domain.is_unlike(sets[name])), len(sets[name])) for name in list(sets)[1:]]
        print(f"| {run.name} | **the mark, as fitted at the end of training** | {' | '.join(marks)} |")
    real_domains(camvid, cleanliness, sets["test"])


def real_domains(camvid: Path, cleanliness: Path, drawn: list[NDArray[np.uint8]]) -> None:
    """Print which photos are marked where the training photos are real ones."""
    size = drawn[0].shape[0], drawn[0].shape[1]
    other = {"drawn streets": np.array([photo_statistics(image) for image in drawn])}
    sets = {"CamVid": (camvid, "*"), "street cleanliness": (cleanliness, "*/*")}
    measured = {
        name: {
            split: np.array([photo_statistics(resize(read_photo(file), size)) for file in sorted(folder.glob(files))])
            for split in ("train", "val", "test")
            for files in (f"{split}/{pattern}",)
        }
        for name, (folder, pattern) in sets.items()
    }
    print("\n| trained on | val, at most 5% | its test | others |\n|---|---|---|---|")
    for name, splits in measured.items():
        domain = TrainingDomain.fit(splits["train"], splits["val"])
        others = {key: values["test"] for key, values in measured.items() if key != name} | other
        cells = [share(domain.distances(splits[split]), domain.threshold) for split in ("val", "test")]
        rates = [f"{key} {share(domain.distances(values), domain.threshold)}" for key, values in others.items()]
        print(f"| {name} | {' | '.join(cells)} | {'; '.join(rates)} |")


def network_scores(
    predictor: Predictor, sets: Sets
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Energies (N,) and features (N, 2C), mean and deviation of each channel before the head, of each set."""
    layer = FeatureLayer(predictor.network, find_layer(predictor.network), predictor.image_size)
    energies: dict[str, list[torch.Tensor]] = {name: [] for name in sets}
    features: dict[str, list[torch.Tensor]] = {name: [] for name in sets}
    for name, images in sets.items():

        def collect(module: object, inputs: object, output: object, name: str = name) -> None:
            maps = layer.to_maps(output).flatten(2)
            features[name].append(torch.cat([maps.mean(dim=2), maps.std(dim=2)], dim=1))

        hook = layer.module.register_forward_hook(collect)
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(np.stack(images[start : start + BATCH])).permute(0, 3, 1, 2)
                output = predictor.network(normalize(batch))
                energy = -getattr(output, "logits", output).logsumexp(dim=1)
                energies[name].append(energy.flatten(1).mean(dim=1) if energy.ndim > 1 else energy)
        hook.remove()
    return (
        {name: torch.cat(parts).double().numpy() for name, parts in energies.items()},
        {name: torch.cat(parts).double().numpy() for name, parts in features.items()},
    )


def distances(features: dict[str, NDArray[np.float64]], correlated: bool) -> dict[str, NDArray[np.float64]]:
    """Distances (N,) of each set's features from train's."""
    train = features["train"]
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    inverse = np.eye(len(mean))
    if correlated:
        normed = (train - mean) / scale
        inverse = np.linalg.inv(0.9 * normed.T @ normed / len(train) + 0.1 * inverse)
    normed_sets = {name: (values - mean) / scale for name, values in features.items()}
    return {name: np.einsum("ni,ij,nj->n", values, inverse, values) for name, values in normed_sets.items()}


def threshold(val: NDArray[np.float64]) -> float:
    return float(np.sort(val)[len(val) - 1 - int(MOST_MARKED * len(val))])


def share(values: Sequence[float] | NDArray[np.float64], limit: float) -> str:
    return cell(int((np.asarray(values) > limit).sum()), len(values))


def cell(marked: int, n: int) -> str:
    """The share with its Wilson interval and count."""
    low, high = wilson_interval(marked, n)
    return f"{marked / n:.1%} [{low:.1%}, {high:.1%}] of {n}"


if __name__ == "__main__":
    main()

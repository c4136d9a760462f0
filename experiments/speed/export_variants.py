"""Every variant as an ONNX file: how far it agrees with PyTorch, how large it is, and how much faster on the CPU.

    python experiments/speed/export_variants.py [--threads N] [NAME ...]

Random weights, with the BatchNorm statistics of drawn streets: how well a network was trained is not asked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from streetlab.config import instantiate, plain
from streetlab.config.composition import composer
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.export.graph import DeployedNetwork
from streetlab.export.latency import measure
from streetlab.export.onnx_file import write_onnx
from streetlab.export.parity import compare
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.loading.augment import normalize
from streetlab.synthetic import draw_scene

PIXELWISE, LABELS = (256, 512), (224, 224)
CLASSIFIERS = {"resnet18": ["model=resnet18"]}
TRAINING_ONLY = {"weights": "none", "aux": None, "dropout": None}
"""What of a network is in no file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, or resnet18; default: all")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, batch 1, 256x512 pixels (resnet18: 224x224)\n")
    print(
        "| variant | agreement | of | largest difference of logits | MB | export, s | PyTorch p50 / p95, ms "
        "| ONNX Runtime p50 / p95, ms | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for names, model in _models().items():
        if not options.names or set(options.names) & set(names.split(", ")):
            print(_row(names, model), flush=True)


def _models() -> dict[str, dict[str, Any]]:
    """Descriptions of the networks; experiments that differ in how they train share one row."""
    with composer() as compose:
        presets = [
            name
            for name in compose.choices("experiment")
            if name.startswith(("segmentation_", "realtime_")) and not name.endswith("_plus")
        ]
        words = {name: [f"experiment={name}"] for name in presets} | CLASSIFIERS
        found = {name: plain(compose.compose("train", overrides).model) for name, overrides in words.items()}
    names_of: dict[str, list[str]] = {}
    for name, model in found.items():
        names_of.setdefault(repr(sorted((model | TRAINING_ONLY).items(), key=str)), []).append(name)
    return {", ".join(names): found[names[0]] | {"weights": "none"} for names in names_of.values()}


def _row(names: str, model: dict[str, Any]) -> str:
    space, size = (CLEANLINESS, LABELS) if names in CLASSIFIERS else (CITYSCAPES, PIXELWISE)
    torch.manual_seed(0)
    network: nn.Module = instantiate({**model, "_partial_": False}, num_classes=len(space))
    photos = [draw_scene(seed, *size).image for seed in range(4)]
    _settle(network, photos)
    module = DeployedNetwork(network.to(memory_format=torch.channels_last))
    metadata = ModelMetadata(names, space, size, "0" * 64, 0, "fp32", None, {})
    with tempfile.TemporaryDirectory() as folder:
        file, started = Path(folder) / "model.onnx", time.perf_counter()
        write_onnx(module, size, file, metadata.to_metadata())
        seconds, megabytes = time.perf_counter() - started, file.stat().st_size / 1e6
        exported = ExportedNetwork.open(file, threads=torch.get_num_threads())
    agreement = compare(module, exported, size, photos)
    latency = measure(module, exported, photos[0]).to_dict()
    times = [f"{latency[side]['p50_ms']:.0f} / {latency[side]['p95_ms']:.0f}" for side in ("pytorch", "exported")]
    return (
        f"| {names} | {agreement.share:.4%} | {agreement.compared:,} {agreement.of} "
        f"| {agreement.largest_difference:.1e} | {megabytes:.1f} | {seconds:.0f} | {times[0]} | {times[1]} "
        f"| {latency['ratio']:.1f}× |"
    )


def _settle(network: nn.Module, photos: list[np.ndarray]) -> None:
    """Give BatchNorm the statistics of the photos: with fresh ones a few classes win in every pixel."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean
    with torch.no_grad():
        network.train()(normalize(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2)))


if __name__ == "__main__":
    main()

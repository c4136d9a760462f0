"""Eager PyTorch, channels last, against ONNX Runtime in float32 and INT8 for every variant: processor time of a photo.

    python experiments/realtime/backends.py FOLDER [NAME ...] [--threads N] [--agreement]

The networks and their files are written to FOLDER once, with random weights and the BatchNorm statistics of drawn
streets: how well a network was trained is not asked. Backends take turns, photo by photo in one process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))
import export_variants as variants

from streetlab.config import instantiate
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.export.graph import DeployedNetwork
from streetlab.export.int8 import quantize_int8
from streetlab.export.onnx_file import write_onnx
from streetlab.export.parity import compare
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.synthetic import draw_scene

variants.CLASSIFIERS |= {
    "efficientnet_lite0": ["model=efficientnet_lite0"],
    "mobilenetv3_small_100": ["model=timm_classifier", "model.name=mobilenetv3_small_100"],
}
PRECISIONS = ("fp32", "int8")
CALIBRATION = 8
WARM_UP, LEAST_ROUNDS = 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30, help="at most")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each variant, about")
    parser.add_argument("--agreement", action="store_true", help="of the file in float32, at odd sizes")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    print("| variant | " + " | ".join(f"{way}, CPU ms (least)" for way in ("eager", *PRECISIONS))
          + " | fp32 | INT8 | fp32 by the clock | INT8 by the clock | agreement of fp32 |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for names, model in variants._models().items():
        if not options.names or set(options.names) & set(names.split(", ")):
            print(row(names, model, options), flush=True)


def row(names: str, model: dict[str, Any], options: argparse.Namespace) -> str:
    space, size = (CLEANLINESS, variants.LABELS) if names in variants.CLASSIFIERS else (CITYSCAPES, variants.PIXELWISE)
    photos = [draw_scene(seed, *size).image for seed in range(4)]
    start = options.folder / names.partition(", ")[0]
    stored, files = start.with_suffix(".pt"), {way: start.with_name(f"{start.name}_{way}.onnx") for way in PRECISIONS}
    if not all(path.exists() for path in (stored, *files.values())):
        write(names, model, space, size, photos, stored, files)
    module: DeployedNetwork = torch.load(stored, weights_only=False).eval()
    exported = {way: ExportedNetwork.open(file, threads=options.threads) for way, file in files.items()}
    pixels = torch.from_numpy(photos[0][None].copy())
    turns: dict[str, Callable[[], object]] = {"eager": lambda: module(pixels)}
    turns |= {way: lambda network=network: network.logits(pixels) for way, network in exported.items()}
    processor, clock = measure(turns, options.rounds, options.seconds)
    middle = {way: statistics.median(times) for way, times in processor.items()}
    of_clock = {way: statistics.median(times) for way, times in clock.items()}
    agreement = f"{compare(module, exported['fp32'], size, photos).share:.4%}" if options.agreement else "–"
    return " | ".join([
        f"| {names}", *(f"{middle[way]:.1f} ({min(processor[way]):.1f})" for way in turns),
        *(f"{middle['eager'] / middle[way]:.2f}×" for way in PRECISIONS),
        *(f"{of_clock['eager'] / of_clock[way]:.2f}×" for way in PRECISIONS), f"{agreement} |",
    ])  # fmt: skip


def write(
    names: str, model: dict[str, Any], space: Any, size: Any, photos: Any, stored: Path, files: dict[str, Path]
) -> None:
    torch.manual_seed(0)
    network = instantiate({**model, "_partial_": False}, num_classes=len(space))
    variants._settle(network, photos)
    module = DeployedNetwork(network.to(memory_format=torch.channels_last))
    torch.save(module, stored)
    metadata = ModelMetadata(names, space, size, "0" * 64, 0, "fp32", None, {})
    write_onnx(module, size, files["fp32"], metadata.to_metadata())
    quantize_int8(files["fp32"], files["int8"], (draw_scene(seed, *size).image[None] for seed in range(CALIBRATION)))


@torch.inference_mode()
def measure(
    turns: dict[str, Callable[[], object]], rounds: int, seconds: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of the process's threads together, and by the clock, of each way, round by round."""
    processor: dict[str, list[float]] = {way: [] for way in turns}
    clock: dict[str, list[float]] = {way: [] for way in turns}
    began = time.perf_counter()
    for number in range(WARM_UP + rounds):
        for way, turn in turns.items():
            started, used = time.perf_counter(), time.process_time()
            turn()
            if number >= WARM_UP:
                processor[way].append(1000 * (time.process_time() - used))
                clock[way].append(1000 * (time.perf_counter() - started))
        if number >= WARM_UP + LEAST_ROUNDS and time.perf_counter() - began > seconds:
            break
    return processor, clock


if __name__ == "__main__":
    main()

"""How long does one photo take, and how many go through in a second: by network, backend and precision?

End to end on the device: a frame of uint8 pixels lies there, its labels lie there at the end; normalisation, the
network and the argmax are in between. Backends take turns, photo by photo in one process.

    python benchmarks/inference_latency.py
    python benchmarks/inference_latency.py --networks hrnet_w48 --large --rounds 5
    python benchmarks/inference_latency.py --files outputs/a/export/model_int8.onnx
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tables import Table, arguments, interleaved, number, publish, ratio, spread
from torch import Tensor, nn

from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.errors import UserError
from streetlab.export.graph import DeployedNetwork
from streetlab.export.int8 import quantize_int8
from streetlab.export.onnx_file import write_onnx
from streetlab.inference.compiled_predictor import CompiledPredictor
from streetlab.inference.exported import ExportedNetwork, runs_on
from streetlab.inference.hardware import choose_device, choose_precision, computing_in
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.loading.augment import normalize
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.deeplabv3 import deeplabv3
from streetlab.networks.hrnetv2 import hrnetv2
from streetlab.synthetic import draw_scene

Size = tuple[int, int]
Labels = Callable[[Tensor], Tensor]
"""uint8 (B, H, W, 3) to class ids (B,) or (B, H, W), both on the device."""

BACKENDS = ("eager", "compiled", "onnx", "int8")
CALIBRATION = 8
"""Synthetic scenes that an INT8 model is calibrated on; its speed does not depend on them."""


@dataclass(frozen=True)
class Network:
    """One network to measure: how it is built, for which task, and at which size by default."""

    build: Callable[[], nn.Module]
    task: str = "segmentation"
    size: Size = (256, 512)


NETWORKS = {
    "resnet18": Network(functools.partial(timm_classifier, len(CLEANLINESS), "resnet18"), "classification", (224, 224)),
    "hrnet_w18_small": Network(functools.partial(hrnetv2, len(CITYSCAPES), 18, small=True)),
    "deeplabv3_r50": Network(functools.partial(deeplabv3, len(CITYSCAPES))),
    "hrnet_w48": Network(functools.partial(hrnetv2, len(CITYSCAPES), 48)),
}
QUICK = ("resnet18", "hrnet_w18_small")
LARGE = (1024, 2048)
USUAL = 256 * 512
"""Pixels of a photo; of larger ones a batch has fewer."""


@dataclass
class Way:
    """One backend at one precision, and what was measured of it.

    Attributes:
        labels: what is measured.
        latencies: milliseconds of single frames, those of the warm-up left out.
        rates: frames per second of batches, round by round.
        medians: of the latencies, round by round.
    """

    backend: str
    precision: str
    labels: Labels
    latencies: list[list[float]] = field(default_factory=list)
    medians: Sequence[float] = ()
    rates: Sequence[float] = ()

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, metavar="NAME", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, metavar="NAME",
                        help=f"of {', '.join(BACKENDS)} (default: all; compiled on a GPU alone)")  # fmt: skip
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="exported models, each at its own size")
    parser.add_argument("--large", action="store_true", help="segmentation at 2048x1024 as well")
    parser.add_argument("--batch-size", type=int, default=8, help="for the throughput (default 8)")
    parser.add_argument(
        "--frames", type=int, help="single frames a round (default 20, quick 5; at 2048x1024 a quarter)"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.networks is None:
        options.networks = [] if options.files else list(QUICK if options.quick else NETWORKS)
    started = time.perf_counter()
    device = choose_device(options.device)
    chosen = options.backends or [name for name in BACKENDS if name != "compiled" or device.type == "cuda"]
    frames = options.frames or (5 if options.quick else 20)
    rows, numbers = [], []
    for name, size, ways in _cases(options, chosen, device):
        large = size[0] * size[1] > USUAL
        batch_size = max(1, options.batch_size * USUAL // (size[0] * size[1])) if large else options.batch_size
        _measure(ways, size, max(3, frames // 4) if large else frames, batch_size, options.rounds, device)
        rows += [_row(name, size, way, ways[0], batch_size) for way in ways]
        numbers += [_numbers(name, size, way, batch_size) for way in ways]
    headers = ["network", "size", "backend", "precision", "p50 ms", "p95 ms", "faster", "batch", "photos/s", "more"]
    notes = [
        "p50 and p95 of single frames, all rounds together; photos/s of whole batches, median, least and most of the "
        "rounds. Faster and more: times the first way of the same network, median over the rounds' pairs.",
    ]
    question = "How long does a photo take from pixels to labels?"
    publish("inference_latency", question, [Table(headers, rows, notes=notes)], numbers, options.output,
            time.perf_counter() - started)  # fmt: skip


def _cases(options: Any, backends: Sequence[str], device: torch.device) -> Iterator[tuple[str, Size, list[Way]]]:
    """Name, size and ways of everything that is to be measured; one network's ways are in memory at a time."""
    for name in options.networks:
        network = NETWORKS[name]
        ways = list(_ways(network, backends, device))
        sizes = [network.size, *([LARGE] if options.large and network.task == "segmentation" else [])]
        for size in sizes:
            yield name, size, [Way(way.backend, way.precision, way.labels) for way in ways]
    for file in options.files:
        opened = ExportedNetwork.open(file, device if runs_on(file, device) else torch.device("cpu"))
        way = Way(file.suffix.removeprefix("."), opened.metadata.precision, _of_file(opened))
        yield f"{opened.metadata.name} ({file.name})", opened.metadata.image_size, [way]


def _ways(network: Network, backends: Sequence[str], device: torch.device) -> Iterator[Way]:
    torch.manual_seed(0)
    module = network.build().eval().to(device, memory_format=torch.channels_last)
    fast = choose_precision("auto", "auto", device)
    for backend in [name for name in ("eager", "compiled") if name in backends]:
        for precision in dict.fromkeys(("32-true", fast)):
            computed = CompiledPredictor(module) if backend == "compiled" else module
            yield Way(backend, precision, _of_module(computed, precision, device))
    if {"onnx", "int8"} & set(backends):
        with tempfile.TemporaryDirectory() as folder:
            yield from _exported(network, backends, device, Path(folder))


def _exported(network: Network, backends: Sequence[str], device: torch.device, folder: Path) -> Iterator[Way]:
    """The network's own files, written now."""
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    space = CLEANLINESS if network.task == "classification" else CITYSCAPES
    metadata = ModelMetadata("benchmark", space, network.size, "", 0, "fp32", None, {})
    write_onnx(DeployedNetwork(network.build()), network.size, fp32, metadata.to_metadata())
    there = device if runs_on(fp32, device) else torch.device("cpu")
    if "onnx" in backends:
        yield Way(_named("onnx", there, device), "fp32", _of_file(ExportedNetwork.open(fp32, there)))
    if "int8" in backends:
        scenes = (draw_scene(number, *network.size).image[None] for number in range(CALIBRATION))
        try:
            quantize_int8(fp32, int8, scenes)
        except UserError as error:
            print(f"int8: {error}")
        else:
            yield Way(_named("onnx", there, device), "int8", _of_file(ExportedNetwork.open(int8, there)))


def _named(backend: str, there: torch.device, device: torch.device) -> str:
    return backend if there.type == device.type else f"{backend} on the CPU"


def _of_module(module: Any, precision: str, device: torch.device) -> Labels:
    def labels(frames: Tensor) -> Tensor:
        images = normalize(frames.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        with computing_in(precision, device):
            output = module(images)
        return getattr(output, "logits", output).argmax(1)

    return labels


def _of_file(network: ExportedNetwork) -> Labels:
    return lambda frames: torch.from_numpy(network.pixels(frames.cpu().numpy())).argmax(1)


def _measure(ways: Sequence[Way], size: Size, frames: int, batch_size: int, rounds: int, device: torch.device) -> None:
    """Measure the ways in turn: so many single frames a round, then batches."""
    batch = torch.from_numpy(np.stack([draw_scene(number, *size).image for number in range(batch_size)])).to(device)
    single = batch[:1].contiguous()

    def latency(way: Way) -> float:
        way.latencies.append([1000 * _seconds(way.labels, single, device) for _ in range(frames)])
        return statistics.median(way.latencies[-1])

    def rate(way: Way) -> float:
        return batch_size / _seconds(way.labels, batch, device)

    with torch.inference_mode():
        for way in ways:
            if way.backend == "compiled":  # which happens when a shape comes for the second time
                for frames_of_a_kind in (single, single, batch, batch):
                    way.labels(frames_of_a_kind)
        at_once = interleaved({way.name: functools.partial(latency, way) for way in ways}, rounds, what="frames")
        many = interleaved({way.name: functools.partial(rate, way) for way in ways}, rounds, what="batches")
    for way in ways:
        way.medians, way.rates = at_once[way.name], many[way.name]
        del way.latencies[0]  # the warm-up


def _seconds(labels: Labels, frames: Tensor, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    labels(frames)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _row(name: str, size: Size, way: Way, first: Way, batch_size: int) -> list[str]:
    p50, p95 = np.percentile(way.latencies, (50, 95))
    faster, more = ratio(first.medians, way.medians), ratio(way.rates, first.rates)
    return [
        name, f"{size[1]}×{size[0]}", way.backend, way.precision, number(float(p50)), number(float(p95)),
        f"{faster.median:.2f}×", str(batch_size), str(spread(way.rates)), f"{more.median:.2f}×",
    ]  # fmt: skip


def _numbers(name: str, size: Size, way: Way, batch_size: int) -> dict[str, Any]:
    p50, p95 = np.percentile(way.latencies, (50, 95))
    return {
        "network": name, "size": size, "backend": way.backend, "precision": way.precision, "p50_ms": p50,
        "p95_ms": p95, "latencies_ms": way.latencies, "batch_size": batch_size, "photos_per_second": way.rates,
    }  # fmt: skip


if __name__ == "__main__":
    main()

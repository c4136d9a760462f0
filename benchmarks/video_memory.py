"""How fast a video goes through a small network, stage by stage, and how much memory that takes at any length.

    python benchmarks/video_memory.py --frames 60 600 6000

Every length is a process of its own: a generated video of moving squares is decoded, predicted (U-Net on MobileNetV2,
random weights, 19 classes) and written as an overlay and as an id stream. `start` is the memory once the network has
seen a first batch, `peak` the most that was resident until the end.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from streetlab.datasets.labels import CITYSCAPES
from streetlab.inference.predictor import Predictor
from streetlab.inference.video.pipeline import predict_video
from streetlab.inference.video.reader import probe
from streetlab.inference.video.sinks import IdsSink, OverlaySink
from streetlab.inference.video.writer import VideoWriter
from streetlab.inference.views import Views
from streetlab.networks.smp_network import smp_network
from streetlab.plots.paint import PaintStyle

FPS = Fraction(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[60, 600, 6000])
    parser.add_argument("--size", type=int, nargs=2, default=[128, 256], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the video of the process of one length
    options = parser.parse_args()
    if options.one is not None:
        print(measure(options.one, (options.size[0], options.size[1]), torch.device(options.device)))
        return
    stages = "decode, frames/s | network, frames/s | encode, frames/s"
    print(f"| frames | seconds | frames/s | {stages} | memory at start, MiB | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            video = draw(Path(folder) / "video.mp4", frames, (options.size[0], options.size[1]))
            command = [sys.executable, __file__, "--one", str(video), "--device", options.device, "--size"]
            subprocess.run([*command, *map(str, options.size)], check=True)


def draw(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A video of squares that move over a noisy ground."""
    height, width = size
    ground = np.random.default_rng(0).integers(60, 120, (height, width, 3), dtype=np.uint8)
    side = height // 4
    with VideoWriter(path, size, FPS, 1 / FPS) as video:
        for number in range(frames):
            picture = ground.copy()
            for square in range(3):
                left = (number * (square + 1) + square * width // 3) % (width - side)
                picture[square * side : (square + 1) * side, left : left + side] = (80 * square, 200, 255 - 80 * square)
            video.write(picture, number)
    return path


def measure(video: Path, size: tuple[int, int], device: torch.device) -> str:
    """A row of the table."""
    predictor = Predictor(
        network=smp_network(len(CITYSCAPES), decoder="unet", encoder="mobilenet_v2").eval().to(device),
        name="benchmark",
        task="segmentation",
        label_space=CITYSCAPES,
        image_size=size,
        checkpoint=Path("none"),
        sha256="",
        epoch=0,
        fitted=None,
        device=device,
        precision="32-true",
        views=Views(),
        batch_size=8,
    )
    predictor.predict([Image.new("RGB", size[::-1])] * predictor.batch_size)
    start, info = resident("VmRSS"), probe(video)
    sinks = [
        OverlaySink(video.with_name("overlay.mp4"), PaintStyle(CITYSCAPES.palette), info, video),
        IdsSink(video.with_name("ids.webm"), info, len(CITYSCAPES)),
    ]
    report = predict_video(predictor, video, sinks)
    rates = [report.frames / report.stages[stage] for stage in ("decode", "network", "encode")]
    numbers = [f"{rate:.0f}" for rate in (report.frames / report.seconds, *rates, start, resident("VmHWM"))]
    return f"| {report.frames:,} | {report.seconds:.1f} | {' | '.join(numbers)} |"


def resident(key: str) -> float:
    """MiB of this process: `VmRSS` now, `VmHWM` at most; without /proc always the most, so far."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    [line] = [line for line in status.read_text().splitlines() if line.startswith(f"{key}:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

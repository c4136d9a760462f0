"""How many frames of a video go through a model in a second, end to end, and which stage the others wait for?

A film of drawn streets, seen by a camera that pans and shakes, is decoded, predicted and written again with the
classes painted over it. Models take turns, film by film, on the same threads. Decoding, the network and encoding
overlap: what a stage could do alone is its frames over the seconds that it was at work, and the slowest sets the pace.

    python benchmarks/video_speed.py outputs/demo/segmentation outputs/demo/segmentation/export/model_int8.onnx

Where none is named, LinkNet on MobileNetV4 is trained for a few batches, exported, and measured both ways.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from brief_runs import SEGMENTER, export_run, train_briefly
from tables import Table, arguments, interleaved, number, publish, ratio, spread

from streetlab.errors import UserError
from streetlab.inference.export_metadata import EXPORTED
from streetlab.inference.predictor import Predictor
from streetlab.inference.video.pipeline import VideoReport, predict_video
from streetlab.inference.video.reader import probe
from streetlab.inference.video.sinks import OverlaySink
from streetlab.inference.video.writer import VideoWriter
from streetlab.inference.views import Views
from streetlab.plots.paint import PaintStyle
from streetlab.synthetic import draw_scene

FPS = Fraction(30)
TARGET = 25
"""Frames per second that the INT8 small network is to reach at 512x256 on two cores (issue 18)."""
STAGES = ("decode", "network", "encode")
_SCENE = 48  # frames between two cuts
_SHAKE = 3  # pixels


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "models",
        nargs="*",
        type=Path,
        help="runs, checkpoints or exported files, of segmentation; default: a brief run",
    )
    parser.add_argument("--frames", type=int, help="of the film (default 240, quick 48)")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 512], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--batch-size", type=int, default=1, help="frames that the network is shown at once (default 1)"
    )
    parser.add_argument("--direct", action="store_true", help="show the network frames at their own size")
    parser.add_argument("--smooth", type=float, default=0.0, help="as `predict smooth=`")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(words)
    frames = options.frames or (48 if options.quick else 240)
    size = options.size[0], options.size[1]
    if options.quick:
        options.rounds = min(options.rounds, 2)
    if not options.models:
        with tempfile.TemporaryDirectory() as folder:
            run = train_briefly(Path(folder), SEGMENTER, size)
            options.models = [run, export_run(run)]
            compare(options, frames, size)
        return
    compare(options, frames, size)


def compare(options: argparse.Namespace, frames: int, size: tuple[int, int]) -> None:
    """Measure the models in turns and publish the table."""
    predictors = {str(path): open_model(path, options.device, options.batch_size) for path in options.models}
    if options.direct:
        predictors = {name: predictor.seen_through(Views(mode="direct")) for name, predictor in predictors.items()}
    started = time.perf_counter()
    reports: dict[str, list[VideoReport]] = {name: [] for name in predictors}
    processor: dict[str, list[float]] = {name: [] for name in predictors}
    with tempfile.TemporaryDirectory() as folder:
        film = draw_film(Path(folder) / "film.mp4", frames, size)

        def way(name: str) -> Callable[[], float]:
            def show() -> float:
                used = time.process_time()
                reports[name].append(overlay(predictors[name], film, Path(folder) / "overlay.mp4", options.smooth))
                processor[name].append(1000 * (time.process_time() - used) / frames)
                return frames / reports[name][-1].seconds

            return show

        rates = interleaved({name: way(name) for name in predictors}, options.rounds)
    reports = {name: seen[-options.rounds :] for name, seen in reports.items()}  # without the warm-up
    processor = {name: seen[-options.rounds :] for name, seen in processor.items()}
    first = next(iter(rates.values()))
    shown = {name: size if options.direct else predictor.image_size for name, predictor in predictors.items()}
    rows = [
        [name, predictors[name].precision, _size(shown[name]), str(spread(values)), str(ratio(values, first)),
         str(spread(processor[name])), *(_stage(reports[name], stage) for stage in STAGES)]
        for name, values in rates.items()
    ]  # fmt: skip
    headers = [
        "model",
        "precision",
        "network sees",
        "frames/s",
        "of the first",
        "CPU ms a frame",
        *(f"{stage} alone" for stage in STAGES),
    ]
    note = (
        f"{frames} frames of {_size(size)}, {torch.get_num_threads()} threads, batch {options.batch_size}; median of "
        f"{options.rounds} (least-most). Target of the small network in INT8 on two cores: {TARGET} frames/s."
    )
    numbers = [
        {"model": name, "precision": predictors[name].precision, "frames_per_second": values,
         "processor_ms_per_frame": processor[name],
         "stages": [report.stages for report in reports[name]],
         "waits": [report.waits for report in reports[name]], "frames": frames, "size": size}
        for name, values in rates.items()
    ]  # fmt: skip
    question = "How many frames of a video go through in a second, end to end?"
    publish("video_speed", question, [Table(headers, rows, notes=[note])], numbers, options.output,
            time.perf_counter() - started)  # fmt: skip


def open_model(path: Path, device: str, batch_size: int) -> Predictor:
    """A run's folder, a checkpoint or an exported file, ready to predict.

    Raises:
        UserError: it is none of these, or a classifier.
    """
    if path.suffix in EXPORTED:
        predictor = Predictor.from_export(path, device=device, batch_size=batch_size)
    elif path.is_file():
        predictor = Predictor.from_checkpoint(path, device=device, batch_size=batch_size)
    else:
        predictor = Predictor.from_run(path, device=device, batch_size=batch_size)
    if predictor.task != "segmentation":
        raise UserError(f"{path} classifies whole images; an overlay shows the class of each pixel")
    return predictor


def draw_film(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A video of drawn streets: the camera pans over one for a second or two and shakes, then there is a cut."""
    height, width = size
    with VideoWriter(path, size, FPS, 1 / FPS) as video:
        for number in range(frames):
            scene, step = divmod(number, _SCENE)
            if step == 0:
                drawn = draw_scene(scene, height + 2 * _SHAKE, width + _SCENE + 2 * _SHAKE).image
                shake = np.random.default_rng(scene).integers(0, 2 * _SHAKE + 1, (_SCENE, 2))
            top, left = shake[step, 0], shake[step, 1] + step
            video.write(np.ascontiguousarray(drawn[top : top + height, left : left + width]), number)
    return path


def overlay(predictor: Predictor, film: Path, target: Path, smooth: float) -> VideoReport:
    """Predict the film and write it with its classes painted over it, as `streetlab predict` does."""
    look = PaintStyle(predictor.label_space.palette)
    return predict_video(predictor, film, [OverlaySink(target, look, probe(film))], smooth=smooth)


def _stage(reports: list[VideoReport], stage: str) -> str:
    return number(spread([report.frames / report.stages[stage] for report in reports]).median)


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


if __name__ == "__main__":
    main()

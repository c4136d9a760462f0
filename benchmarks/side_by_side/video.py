"""Video: the classes painted over a film, end to end, beside two ffmpeg processes with the network between them."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from brief_runs import SEGMENTER, export_run, train_briefly
from video_speed import FPS, draw_film

from side_by_side.prediction import plain_weights
from side_by_side.processes import (
    Asked,
    Measured,
    MissingPeer,
    Way,
    as_numbers,
    measure,
    ours,
    peer,
    scaled,
    shown,
    table,
    take_turns,
)

STREETLAB = "streetlab predict"


def ask(options: argparse.Namespace, folder: Path) -> Asked:
    """Frames per second of whole commands."""
    size, frames = ((64, 96), 24) if options.quick else ((256, 512), scaled(120, options))
    run = train_briefly(folder, SEGMENTER, size)
    weights, space = plain_weights(run, folder / "weights.pth")
    model = export_run(run)
    film = folder / "film.mp4"
    if not film.is_file():
        draw_film(film, frames, size)
    ffmpeg = find_ffmpeg()
    shared = {"film": film, "ffmpeg": ffmpeg, "height": size[0], "width": size[1], "batch_size": 8, "fps": FPS,
              "palette": json.dumps([list(map(int, color)) for color in space.palette])}  # fmt: skip
    network = {"weights": weights, "decoder": "linknet", "encoder": "tu-mobilenetv4_conv_small"}

    def streetlab(chosen: Path, *words: str) -> Way:
        def turn(round: int) -> Measured:
            output = folder / "ours" / f"{chosen.name}{''.join(words)}-{round}"
            command = ours("predict", f"run={chosen}", f"source={film}", f"output={output}", "parts=[overlay]", *words)
            return _timed(lambda: measure(command, options), next_video(output))

        return turn

    def piped(name: str, **words: object) -> Way:
        def turn(round: int) -> Measured:
            if ffmpeg is None:
                raise MissingPeer("not installed: ffmpeg")
            output = folder / "theirs" / f"{name}-{round}.mp4"
            command = peer("ffmpeg_pipe", options, output=output, **shared, **words)
            return _timed(lambda: measure(command, options, answers=True), lambda: output)

        return turn

    def _timed(run: Callable[[], Measured], written: Callable[[], Path]) -> Measured:
        done = run()
        return replace(done, answer={"rate": frames / done.seconds, "mb": written().stat().st_size / 1e6})

    ways = {
        STREETLAB: streetlab(run),
        "the same, precision=32-true": streetlab(run, "precision=32-true"),
        "ffmpeg, PyTorch float32, ffmpeg": piped("float32", amp="none", **network),
        "ffmpeg, PyTorch bfloat16, ffmpeg": piped("bfloat16", amp="bfloat16", **network),
        "streetlab predict, its ONNX file": streetlab(model),
        "ffmpeg, ONNX Runtime, ffmpeg": piped("onnx", model=model),
    }
    measured, missing = take_turns(ways, options, "videos")
    columns = {"frames/s": shown("rate"), "MB written": shown("mb", 2)}
    title = f"Overlays of a film of {frames} frames, {size[1]}×{size[0]}: LinkNet on MobileNetV4, batches of 8"
    notes = [
        "Frames/s from the command's start to its end. Both write H.264 by libx264, veryfast, crf 20"
        + (f"; ffmpeg: {_version(ffmpeg)}." if ffmpeg else ".")
    ]
    return Asked([table(title, measured, missing, columns, STREETLAB, notes)], as_numbers(measured, missing))


def next_video(output: Path) -> Callable[[], Path]:
    """The one overlay that lies in the folder of a command's results."""
    return lambda: next((output / "overlay").glob("*.mp4"))


def find_ffmpeg() -> str | None:
    """That of the system, else the one that imageio-ffmpeg brings."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except ImportError:
        return None


def _version(ffmpeg: str) -> str:
    return subprocess.run([ffmpeg, "-version"], capture_output=True, text=True).stdout.split()[2]

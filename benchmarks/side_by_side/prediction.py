"""Prediction: classes or masks of many photos, of whole commands, and how far both sides agree."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from brief_runs import CLASSIFIER, SEGMENTER, export_run, train_briefly
from PIL import Image

from side_by_side.pictures import many_photos
from side_by_side.processes import (
    Asked,
    Measured,
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
from streetlab.checkpoints.load_network import rebuild_network
from streetlab.checkpoints.read import read_weights
from streetlab.datasets.labels import LabelSpace

BATCH = 8


def ask(options: argparse.Namespace, folder: Path) -> Asked:
    """A class for each photo, beside timm's loop and ONNX Runtime by hand."""
    size = 64 if options.quick else 160
    run, weights, names, photos, count = _prepared(options, folder, CLASSIFIER, (size, size), 1000)
    loop = {"photos": photos, "weights": weights, "network": "resnet18", "size": size, "classes": names,
            "batch_size": BATCH, "workers": options.workers}  # fmt: skip
    labels: dict[str, list[str]] = {}

    def labelled(name: str, way: Callable[[Path], Measured], result: str) -> Way:
        def turn(round: int) -> Measured:
            output = folder / result / str(round)
            done = way(output)
            rows = csv.DictReader((output / "predictions.csv").read_text().splitlines())
            labels[name] = [row["prediction"] for row in sorted(rows, key=lambda row: row["file"])]
            same = np.mean([a == b for a, b in zip(labels[name], labels[STREETLAB], strict=True)])
            return replace(done, answer={"rate": count / done.seconds, "same": 100 * float(same)})

        return turn

    ways = {
        STREETLAB: labelled(STREETLAB, _ours(options, run, photos), "ours"),
        EXACT: labelled(EXACT, _ours(options, run, photos, "precision=32-true"), "ours32"),
        "timm's loop, float32": labelled("timm", _theirs(options, "timm_prediction", amp="none", **loop), "timm"),
        "timm's loop, bfloat16, channels_last": labelled(
            "timm16", _theirs(options, "timm_prediction", amp="bfloat16", **loop), "timm16"
        ),
        **_by_onnx_runtime(options, folder, run, photos, names, (size, size), labelled),
    }
    return _shown(f"A class for each of {count:,} photos: ResNet-18 at {size}×{size}", ways, options, "classes")


def ask_masks(options: argparse.Namespace, folder: Path) -> Asked:
    """A mask for each photo, beside a loop around the same network of segmentation_models_pytorch."""
    size = (64, 96) if options.quick else (192, 256)
    run, weights, names, photos, count = _prepared(options, folder, SEGMENTER, size, 300)
    loop = {"photos": photos, "weights": weights, "decoder": "linknet", "encoder": "tu-mobilenetv4_conv_small",
            "height": size[0], "width": size[1], "classes": names, "batch_size": BATCH,
            "workers": options.workers}  # fmt: skip

    def masked(name: str, way: Callable[[Path], Measured], result: str) -> Way:
        def turn(round: int) -> Measured:
            output = folder / result / str(round)
            done = way(output)
            masks = _masks(output)
            if name == STREETLAB:
                reference[:] = masks
            same = np.mean([np.mean(a == b) for a, b in zip(masks, reference, strict=True)])
            return replace(done, answer={"rate": count / done.seconds, "same": 100 * float(same)})

        return turn

    reference: list[np.ndarray] = []
    ways = {
        STREETLAB: masked(STREETLAB, _ours(options, run, photos, "parts=[mask]"), "ours"),
        EXACT: masked(EXACT, _ours(options, run, photos, "parts=[mask]", "precision=32-true"), "ours32"),
        "SMP's network in a loop, float32": masked(
            "smp", _theirs(options, "smp_prediction", amp="none", **loop), "smp"
        ),
        "SMP's network in a loop, bfloat16, channels_last": masked(
            "smp16", _theirs(options, "smp_prediction", amp="bfloat16", **loop), "smp16"
        ),
        **_by_onnx_runtime(options, folder, run, photos, names, size, masked, "parts=[mask]"),
    }
    title = f"A mask for each of {count:,} photos: LinkNet on MobileNetV4 at {size[1]}×{size[0]}"
    return _shown(title, ways, options, "pixels")


STREETLAB, EXACT = "streetlab predict", "the same, precision=32-true"


def _prepared(
    options: argparse.Namespace, folder: Path, words: tuple[str, ...], size: tuple[int, int], photos: int
) -> tuple[Path, Path, str, Path, int]:
    """A run, its network's tensors under the names of its library, its classes, the photos, and how many."""
    run = train_briefly(folder, words, size)
    weights, space = plain_weights(run, folder / "weights.pth")
    count = 48 if options.quick else scaled(photos, options)
    return run, weights, ",".join(space.names), many_photos(folder / "many", count, options.photos), count


def plain_weights(run: Path, path: Path) -> tuple[Path, LabelSpace]:
    """Write a run's tensors under the names that its library's own network has; return the file and the classes."""
    trained = read_weights(run / "checkpoints" / "best.ckpt")
    network = rebuild_network(trained, trusted=True)
    torch.save(getattr(network, "model", network).state_dict(), path)
    return path, trained.label_space


def _ours(options: argparse.Namespace, run: Path, photos: Path, *words: str) -> Callable[[Path], Measured]:
    def way(output: Path) -> Measured:
        command = ours("predict", f"run={run}", f"source={photos}", f"output={output}", f"batch_size={BATCH}", *words)
        return measure(command, options)

    return way


def _theirs(options: argparse.Namespace, script: str, **words: object) -> Callable[[Path], Measured]:
    return lambda output: measure(peer(script, options, output=output, **words), options, answers=True)


def _by_onnx_runtime(
    options: argparse.Namespace, folder: Path, run: Path, photos: Path, names: str, size: tuple[int, int],
    wrapped: Callable[[str, Callable[[Path], Measured], str], Way], *words: str,
) -> dict[str, Way]:  # fmt: skip
    """The exported file by `streetlab predict` and by hand."""
    model = export_run(run)
    by_hand = {"photos": photos, "model": model, "height": size[0], "width": size[1], "classes": names}
    return {
        "streetlab predict, its ONNX file": wrapped("onnx", _ours(options, model, photos, *words), "onnx"),
        "ONNX Runtime by hand, the same file": wrapped(
            "hand", _theirs(options, "onnx_prediction", batch_size=BATCH, **by_hand), "hand"
        ),
    }


def _masks(output: Path) -> list[np.ndarray]:
    """Some of the masks that lie in a folder or in its masks/, in the order of their names."""
    files = sorted((output / "masks" if (output / "masks").is_dir() else output).glob("*.png"))
    return [np.asarray(Image.open(file)) for file in files[::20]]


def _shown(title: str, ways: dict[str, Way], options: argparse.Namespace, what: str) -> Asked:
    measured, missing = take_turns(ways, options, "predicting")
    columns = {"photos/s": shown("rate"), f"same {what}, %": shown("same", 1)}
    photos = f"those of {options.photos.name}, by further names" if options.photos else "drawn, 480×320 JPEG"
    notes = [
        f"Photos: {photos}; batches of {BATCH}. Photos/s from the command's start to its end. The network has seen "
        f"four batches, so many answers lie close to each other; equal {what} are counted against `streetlab predict`."
    ]
    return Asked([table(title, measured, missing, columns, STREETLAB, notes)], as_numbers(measured, missing))

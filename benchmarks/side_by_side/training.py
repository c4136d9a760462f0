"""Training: images per second and epochs to a score, of whole commands on the same photos."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from side_by_side.pictures import camvid, labelled_photos, masked_photos, write_pairs
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

NETWORK = "resnet18"
DECODER, ENCODER = "linknet", "tu-mobilenetv4_conv_small"
"""The network of the preset realtime_linknet."""


def ask(options: argparse.Namespace, folder: Path) -> Asked:
    """Measure a classifier against Lightning's and timm's loops."""
    epochs, size, batch_size = (2, 64, 16) if options.quick else (4, 96, 32)
    root = labelled_photos(
        folder / "data", options.photos, *((64, 24) if options.quick else (scaled(240, options), 108))
    )
    recipe = ["dataset=image_folder", f"dataset.root={root}", f"model={NETWORK}", "optimizer=adam", "scheduler=cosine",
              "augment=original", "task.objective.metric=accuracy", f"image_size=[{size},{size}]",
              f"batch_size={batch_size}", f"regime.epochs={epochs}"]  # fmt: skip
    shared = {"root": root, "network": NETWORK, "size": size, "batch_size": batch_size, "epochs": epochs,
              "workers": options.workers}  # fmt: skip

    def theirs(script: str, **words: object) -> Way:
        def run(seed: int) -> Measured:
            output = folder / f"{script}-{'-'.join(map(str, words.values()))}-{seed}"
            return measure(peer(script, options, output=output, seed=seed, **shared, **words), options, answers=True)

        return run

    ways: dict[str, Way] = {
        "streetlab train": _streetlab(options, folder / "auto", recipe, "accuracy"),
        "the same, 32-true": _streetlab(options, folder / "32", [*recipe, "trainer.precision=32-true"], "accuracy"),
        "Lightning + ImageFolder, 32-true": theirs("lightning_image_folder", precision="32-true"),
        "Lightning + ImageFolder, bf16-mixed": theirs("lightning_image_folder", precision="bf16-mixed"),
        "timm's parts, float32": theirs("timm_training", amp="none"),
        "timm's parts, bfloat16, channels_last": theirs("timm_training", amp="bfloat16"),
    }
    measured, missing = take_turns(ways, options, "training classifiers")
    title = f"Training ResNet-18 from random weights at {size}×{size}, batch {batch_size}, {epochs} epochs"
    data = f"Photos: {options.photos.name if options.photos else 'drawn, 480×320 JPEG'}"
    return _shown(title, measured, missing, data, "accuracy", options)


def ask_masks(options: argparse.Namespace, folder: Path) -> Asked:
    """Measure a segmenter against the loop of torchvision's references."""
    epochs, size, batch_size = (2, (96, 128), 4) if options.quick else (4, (192, 256), 8)
    train, val = (16, 4) if options.quick else (scaled(120, options), 30)
    if options.camvid:
        words, pairs, classes = camvid(options.camvid, folder / "camvid", train, val)
    else:
        words, pairs, classes = masked_photos(folder / "drawn", train, val)
    recipe = [*words, "model=smp", f"model.decoder={DECODER}", f"model.encoder={ENCODER}", "optimizer=sgd",
              "scheduler=poly", "regime=single", "augment=none", "+augment.zoom=[0.5,2.0]", "+augment.flip=0.5",
              f"image_size=[{size[0]},{size[1]}]", f"batch_size={batch_size}", f"regime.epochs={epochs}"]  # fmt: skip
    shared = {"pairs": write_pairs(folder / "pairs.json", pairs), "decoder": DECODER, "encoder": ENCODER,
              "height": size[0], "width": size[1], "batch_size": batch_size, "epochs": epochs, "classes": classes,
              "ignored": 11 if options.camvid else 255, "workers": options.workers}  # fmt: skip

    def theirs(amp: str) -> Way:
        def run(seed: int) -> Measured:
            output = folder / f"torchvision-{amp}-{seed}"
            words = peer("torchvision_segmentation", options, output=output, seed=seed, amp=amp, **shared)
            return measure(words, options, answers=True)

        return run

    ways: dict[str, Way] = {
        "streetlab train": _streetlab(options, folder / "auto", recipe, "miou"),
        "the same, 32-true": _streetlab(options, folder / "32", [*recipe, "trainer.precision=32-true"], "miou"),
        "torchvision's loop, float32": theirs("none"),
        "torchvision's loop, bfloat16, channels_last": theirs("bfloat16"),
    }
    measured, missing = take_turns(ways, options, "training segmenters")
    title = (
        f"Training LinkNet on MobileNetV4 (2.5 M parameters) from random weights at {size[1]}×{size[0]}, "
        f"batch {batch_size}, {epochs} epochs of {len(pairs['train'])} images"
    )
    data = f"Photos: {'CamVid, 480×360' if options.camvid else 'drawn streets, 480×360'}"
    return _shown(title, measured, missing, data, "mIoU", options)


def _streetlab(options: argparse.Namespace, folder: Path, words: Sequence[str], score: str) -> Way:
    """The whole command, its cache of decoded images made anew each time."""

    def run(seed: int) -> Measured:
        output = folder / f"run-{seed}"
        cache = f"dataset.cache_dir={folder / f'cache-{seed}'}"
        done = measure(ours("train", *words, cache, f"seed={seed}", f"output={output}"), options)
        rows = csv.DictReader((output / "metrics.csv").read_text().splitlines())
        scores = [float(row[f"val/{score}"]) for row in rows if row.get(f"val/{score}")]
        model = json.loads((output / "model.json").read_text())
        return replace(done, answer={"images_per_second": model["images_per_second"], "scores": scores})

    return run


def _shown(
    title: str, measured: Mapping[str, Sequence[Measured]], missing: Mapping[str, str], data: str, score: str,
    options: argparse.Namespace,
) -> Asked:  # fmt: skip
    goal = min(max(value.answer["scores"]) for values in measured.values() for value in values)
    for values in measured.values():
        for value in values:
            scores = value.answer["scores"]
            value.answer["best"] = max(scores)
            value.answer["epochs_to_goal"] = 1 + next(epoch for epoch, s in enumerate(scores) if s >= goal)
    rate = f"epochs to val {score} {goal:.3f}"
    columns = {
        "images/s": shown("images_per_second"),
        rate: shown("epochs_to_goal", 0),
        f"best val {score}": shown("best", 3),
    }
    notes = [
        f"{data}. Images/s of the training parts of all epochs but the first; the score is the one that every way "
        f"reached in every round. The round is the seed. Peers decode in {options.workers} worker(s), "
        "streetlab once into its cache, which is made anew in every round.",
    ]
    shown_table = table(title, measured, missing, columns, "streetlab train", notes)
    return Asked([shown_table], as_numbers(measured, missing) | {"goal": goal})

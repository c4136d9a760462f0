"""How much of the bare network's speed does training reach? Bare network | streetlab | the original study's loop.

Three ways to train each network, in turn, several rounds, in one process with the same threads: a loop that feeds
the network one batch that stays in memory, `streetlab train`'s own objects, and a loop that decodes every photo with
Pillow in worker processes and trains in float32 and PyTorch's default layout. With `trainer.compile=true`, which is
the default on a GPU, the bare network is compiled as well.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --networks resnet18 --photos data/street_cleanliness
    python benchmarks/training_speed.py --networks all --root data/cityscapes --batch-size 16 trainer=gpu

Words at the end go to streetlab's config.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from photo_files import DecodedBatches, data_words
from short_training import CASES, COMPARED, VARIANTS, Bare, Case, Streetlab, compose, default_batch_size, on_gpu
from tables import Table, arguments, interleaved, number, publish, ratio, spread

ORIGINAL = "the original's loop, 32-true"
CITYSCAPES_TRAIN = 2975
EPOCHS = 20
"""Of the original study's six trainings."""


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", choices=[*CASES, "all"], default=COMPARED, metavar="NAME",
                        help=f"of {', '.join(CASES)}, or all (default: {' '.join(COMPARED)})")  # fmt: skip
    parser.add_argument("--batches", type=int, help="of each way and round (default: 8, on a GPU 30)")
    parser.add_argument("--batch-size", type=int, help="default: by network and device")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: by network")
    parser.add_argument("--workers", type=int, default=2, help="of the original's loop (default 2)")
    parser.add_argument("--photos", type=Path, help="tree of labelled photos for ResNet-18; default: drawn ones")
    parser.add_argument("--root", type=Path, help="CamVid's or Cityscapes' tree for the others; default: drawn ones")
    parser.add_argument("words", nargs="*", help="of streetlab's config")
    options = parser.parse_intermixed_args(words)
    started = time.perf_counter()
    names = list(CASES) if "all" in options.networks else options.networks
    measured: dict[str, dict[str, Any]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = measure(_asked(CASES[name], options), options, Path(folder))
        gc.collect()
        if on_gpu():
            torch.cuda.empty_cache()
    tables = [_table(measured)]
    if summed := _all_six(measured):
        tables.append(summed)
    publish(
        "training_speed", "How fast does training go?", tables, measured, options.output, time.perf_counter() - started
    )


def _asked(case: Case, options: argparse.Namespace) -> Case:
    """The case at the size and batch that are asked for; quick ones are small."""
    size, batch_size = case.size, default_batch_size(case)
    if options.quick and not on_gpu():
        size, batch_size = ((128, 256), 2) if case.segments else (case.size, 16)
    batch_size = options.batch_size or batch_size
    return replace(case, size=tuple(options.size or size), batch_size=(batch_size, batch_size))


def measure(case: Case, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Images per second of every way, round by round, and what they were measured on."""
    batches = options.batches or (30 if on_gpu() else 2 if options.quick else 8)
    rounds = min(options.rounds, 2) if options.quick else options.rounds
    root = options.root if case.segments else options.photos
    batch_size = default_batch_size(case)
    data = data_words(case, root, folder / "data", (batches + 1) * batch_size)
    cfg = compose(case, data, folder / "cache", options.words)
    streetlab, bare, original = Streetlab(cfg), Bare(cfg), Bare(cfg, original=True)
    decoded = DecodedBatches(streetlab.experiment.source, case, batch_size, options.workers)

    def in_the_original_way(batches: int) -> float:
        decoded.drain()
        return original.train_on(decoded, batches)

    bare_ways: dict[str, Callable[[int], float]] = {f"bare network, {bare.precision}": bare.train}
    if cfg.trainer.compile is True:
        bare_ways[f"bare network, compiled, {bare.precision}"] = Bare(cfg, compiled=True).train
    ours = f"streetlab, {bare.precision}"
    ways = bare_ways | {ours: streetlab.train, ORIGINAL: in_the_original_way}
    for name, way in ways.items():  # caches, primitives, compilation
        if name != ours:  # which does that in every epoch's first step, unmeasured
            way(1)
    turns = {name: lambda way=way: way(batches) for name, way in ways.items()}
    return {
        "title": case.title,
        "size": case.size,
        "batch_size": batch_size,
        "batches": batches,
        "data": str(root) if root else "drawn",
        "reference": list(bare_ways)[-1],
        "streetlab": ours,
        "images_per_second": interleaved(turns, rounds, warm_up=False, what=f"training {case.title}"),
    }


def _table(measured: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for case in measured.values():
        rates = case["images_per_second"]
        what = f"{case['title']}, {case['size'][1]}×{case['size'][0]}, batch {case['batch_size']}"
        original = rates[ORIGINAL]
        for name, values in rates.items():
            rows.append(
                [
                    what,
                    name,
                    str(spread(values)),
                    ratio(values, rates[case["reference"]]).percent(),
                    f"{number(ratio(values, original).median)}×",
                    number(CITYSCAPES_TRAIN / spread(values).median),
                ]
            )
            what = ""
    rounds = {len(values) for case in measured.values() for values in case["images_per_second"].values()}
    headers = ["network", "way", "images/s", "of bare", "of the original's", f"s per {CITYSCAPES_TRAIN:,} images"]
    note = f"Median (least–most) of {max(rounds)} rounds in turn; a share compares two measurements of the same round."
    if any("compiled" in case["reference"] for case in measured.values()):
        note += " The bare network that counts is the compiled one."
    return Table(headers, rows, notes=[note])


def _all_six(measured: dict[str, dict[str, Any]]) -> Table | None:
    """The original study's six trainings, where each of their networks was measured."""
    if not set(VARIANTS) <= set(measured):
        return None
    cases = [measured[name] for name in VARIANTS]
    rates = {
        way: [spread(case["images_per_second"][case.get(way, way)]).median for case in cases]
        for way in ("streetlab", ORIGINAL)
    }
    seconds = {way: sum(EPOCHS * CITYSCAPES_TRAIN / rate for rate in medians) for way, medians in rates.items()}
    title = f"Six variants, {EPOCHS} epochs of {CITYSCAPES_TRAIN:,} images each, validation left out"
    return Table(["way", "minutes in all"], [[way, number(value / 60)] for way, value in seconds.items()], title)


if __name__ == "__main__":
    main()

"""How much memory do training and inference take, by network and batch size?

Every case is a process of its own. On a GPU it tells the most that torch had allocated there; on the CPU the most
that was resident, above what was resident once everything had been imported.

    python benchmarks/peak_memory.py
    python benchmarks/peak_memory.py --networks hrnet_3 --batch-sizes 8 16 32 trainer=gpu

Words at the end go to streetlab's config.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from short_training import CASES, COMPARED, Case, Streetlab, compose, drawn, on_gpu
from tables import Table, arguments, number, publish

from streetlab.config import instantiate, plain
from streetlab.progress import track
from streetlab.training.build import build_experiment
from streetlab.training.precision import resolve_accelerator, resolve_precision

MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One process: `peak` and the network's parameters in bytes, or why there is no number."""

    peak: int | None = None
    parameters: int | None = None
    error: str = ""


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=COMPARED, metavar="NAME",
                        help=f"of {', '.join(CASES)} (default: {' '.join(COMPARED)})")  # fmt: skip
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="default: by network and device")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: by network")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # network, task and batch size of one process
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help="of streetlab's config")
    given = sys.argv[1:] if words is None else words
    options = parser.parse_intermixed_args(given)
    started = time.perf_counter()
    if options.one:
        name, task, batch_size = options.one
        print(json.dumps(asdict(measure(_sized(CASES[name], options), task, int(batch_size), options))))
        return
    with tempfile.TemporaryDirectory() as cache:
        asked = [
            (name, task, batch_size)
            for name in options.networks
            for task in ("training", "inference")
            for batch_size in _batch_sizes(CASES[name], task, options)
        ]
        measured = [(*one, _in_a_process(*one, Path(cache), given)) for one in track(asked, "processes")]
    rows = [_row(_sized(CASES[name], options), task, batch, found) for name, task, batch, found in measured]
    where = "allocated on the GPU" if on_gpu() else "resident above the start of the process"
    headers = ["network", "task", "batch", "peak, MiB", "the parameters alone, MiB"]
    keys = ("network", "task", "batch_size")
    numbers = [dict(zip(keys, one, strict=False)) | asdict(found) for *one, found in measured]
    publish(
        "peak_memory", "How much memory does it take?", [Table(headers, rows, notes=[f"Bytes {where}."])], numbers,
        options.output, time.perf_counter() - started,
    )  # fmt: skip


def _batch_sizes(case: Case, task: str, options: argparse.Namespace) -> list[int]:
    if options.batch_sizes:
        return options.batch_sizes
    usual = case.batch_size[on_gpu()]
    if options.quick and not on_gpu():
        return [1] if task == "inference" else [2, 4]
    return [1, usual] if task == "inference" else [usual, 2 * usual]


def _sized(case: Case, options: argparse.Namespace) -> Case:
    if options.size:
        return replace(case, size=tuple(options.size))
    small = options.quick and case.segments and not on_gpu()
    return replace(case, size=(128, 256)) if small else case


def _in_a_process(name: str, task: str, batch_size: int, cache: Path, words: list[str]) -> Measured:
    """What a process of its own finds, started with this one's words."""
    asked = ["--cache", str(cache), "--one", name, task, str(batch_size)]
    done = subprocess.run([sys.executable, __file__, *words, *asked], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Measured(error=lines[-1] if lines else f"ended with exit code {done.returncode}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def measure(case: Case, task: str, batch_size: int, options: argparse.Namespace) -> Measured:
    """Train or predict twice, for a process that does nothing else.

    The optimizer's state comes with the first step, so that the second is the one that needs most.
    """
    start = _resident("VmRSS")
    case = replace(case, batch_size=(batch_size, batch_size))
    cfg = compose(case, drawn(case, 2 * batch_size), options.cache, options.words)
    if task == "training":
        streetlab = Streetlab(cfg)
        streetlab.train(1)
        network = streetlab.experiment.task.network
    else:
        network = build_experiment(cfg, plain(cfg), instantiate(cfg.dataset)).task.network
        infer(network, cfg)
    peak = torch.cuda.max_memory_allocated() if on_gpu() else _resident("VmHWM") - start
    return Measured(peak, sum(value.nbytes for value in network.parameters()))


def infer(network: torch.nn.Module, cfg: DictConfig) -> Any:
    """Predict a batch of noise, at the precision of training."""
    device = torch.device("cuda" if on_gpu() else "cpu")
    precision = resolve_precision(cfg.trainer.precision, resolve_accelerator(cfg.trainer.accelerator))
    low = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    network = network.eval().to(device)
    images = torch.randn(cfg.batch_size, 3, *cfg.image_size, device=device)
    layout = torch.channels_last if cfg.trainer.channels_last else torch.contiguous_format
    with torch.inference_mode(), torch.autocast(device.type, low, enabled=low is not None):
        for _ in range(2):
            network(images.contiguous(memory_format=layout))


def _resident(key: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at most; without /proc always the most, so far."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    [line] = [line for line in status.read_text().splitlines() if line.startswith(f"{key}:")]
    return int(line.split()[1]) * 1024


def _row(case: Case, task: str, batch_size: int, found: Measured) -> list[str]:
    what = f"{case.title}, {case.size[1]}×{case.size[0]}"
    if found.peak is None or found.parameters is None:
        return [what, task, str(batch_size), f"none: {found.error}", ""]
    return [what, task, str(batch_size), number(found.peak / MIB), number(found.parameters / MIB)]


if __name__ == "__main__":
    main()

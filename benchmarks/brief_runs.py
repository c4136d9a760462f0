"""Runs that `streetlab train` makes in moments, for benchmarks of what comes after training.

Four batches of drawn pictures train them: they are as fast as any, and no good.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLASSIFIER = ("dataset=synthetic_cleanliness", "model=resnet18")
SEGMENTER = (
    "dataset=synthetic_streets", "model=smp", "model.decoder=linknet", "model.encoder=tu-mobilenetv4_conv_small",
)  # fmt: skip
"""The network of the preset realtime_linknet, 2.5 M parameters."""


def train_briefly(folder: Path, words: tuple[str, ...], size: tuple[int, int]) -> Path:
    """Train a network for four batches and return its run's folder.

    Args:
        folder: gets the run and the cache of its pictures.
        words: `CLASSIFIER`, `SEGMENTER` or any that choose data and network.
        size: height and width that the network is to see.
    """
    given = ["debug=limit", f"image_size=[{size[0]},{size[1]}]", "batch_size=4", "dataset.train=16", "dataset.val=4",
             "dataset.test=4", f"dataset.size=[{size[0]},{size[1]}]"]  # fmt: skip
    run = folder / "run"
    streetlab("train", *words, *given, f"dataset.cache_dir={folder / 'cache'}", f"output={run}")
    return run


def export_run(run: Path, precision: str = "fp32") -> Path:
    """The ONNX file of a run."""
    streetlab("export", f"run={run}", f"precision={precision}", "evaluate=false")
    return run / "export" / f"model_{precision}.onnx"


def streetlab(*words: str) -> None:
    """Run a command; its output is shown only where it fails."""
    done = subprocess.run([sys.executable, "-m", "streetlab", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"streetlab {words[0]}: {done.stderr.strip() or done.stdout.strip()}")

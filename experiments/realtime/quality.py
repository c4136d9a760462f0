"""mIoU of a run and of its exported files, shown images of one size: at that size, and against the masks' own.

python experiments/realtime/quality.py RUN --size 256 512 --split val [FILE ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytorch_lightning as pl

from streetlab.checkpoints.read import find_checkpoint, read_weights
from streetlab.config import instantiate
from streetlab.config.recorded import recorded_config
from streetlab.inference.exported import ExportedNetwork
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord
from streetlab.training.evaluate_splits import evaluate_splits
from streetlab.training.rebuild import rebuild


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), default=[256, 512])
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    run = locate_run(options.run)
    config = recorded_config(run.located_config, []).config
    config.image_size, config.task.full_resolution = options.size, "resized"
    task, data = rebuild(config, read_weights(find_checkpoint(run, "best")))
    trainer: pl.Trainer = instantiate(
        config.trainer, accelerator="cpu", precision="32-true", enable_checkpointing=False
    )
    shown = {"eager fp32": task.network, **{str(file): ExportedNetwork.open(file) for file in options.files}}
    for name, network in shown.items():
        task.network = network
        record = RunRecord(Path(trainer.default_root_dir))
        numbers = evaluate_splits(trainer, task, data, record, (options.split,))[1]
        sizes = {"at that size": options.split, "at the masks' own": f"{options.split}_full_resolution"}
        print(name, ", ".join(f"{size}: mIoU {numbers[key]['miou']:.4f} (n = {numbers[key]['n']})"
                              for size, key in sizes.items()), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

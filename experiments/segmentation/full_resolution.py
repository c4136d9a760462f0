"""Tests a finished run against the masks of the photos' own size: its scores enlarged, nothing trained.

python experiments/segmentation/full_resolution.py RUN [dataset.root=DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from omegaconf import OmegaConf

from streetlab.config import instantiate
from streetlab.metrics.segmentation import segmentation_report
from streetlab.records.record import RunRecord
from streetlab.training.build import build_experiment
from streetlab.training.native_size import evaluate_full_resolution


def main() -> None:
    record = RunRecord(sys.argv[1])
    cfg = OmegaConf.merge(record.config, OmegaConf.from_dotlist(sys.argv[2:]))
    cfg.task.full_resolution = "resized"
    cfg.loss = {"_target_": "torch.nn.Identity"}  # nothing is trained
    experiment = build_experiment(cfg, record.config)
    checkpoint = torch.load(record.checkpoints / "best.ckpt", map_location="cpu", weights_only=True)
    experiment.task.load_state_dict(checkpoint["state_dict"])
    experiment.data.setup()
    trainer = instantiate(cfg.trainer, callbacks=[], loggers=[], root=Path(record.path))
    split = experiment.data.splits[-1]
    summary = evaluate_full_resolution(trainer, experiment.task, experiment.data, split)
    print(f"{split} at {summary['resolution']}, {record.path}\n")
    print(segmentation_report(summary))


if __name__ == "__main__":
    main()

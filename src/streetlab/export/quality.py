"""Measure the quality lost by an export: evaluate network and file on the same images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from omegaconf import DictConfig
from torch import nn

from streetlab.checkpoints.read import TrainedWeights
from streetlab.config import instantiate
from streetlab.config.recorded import recorded_config
from streetlab.datasets.task_spec import TASKS
from streetlab.export.parity import Pixels
from streetlab.inference.exported import ExportedNetwork
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.catalogue import Place, metrics_of
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.training.evaluate_splits import evaluate_splits
from streetlab.training.rebuild import rebuild

JUDGED_BY = {task: {metric.key: metric.title for metric in metrics_of(task, Place.HEADLINE)} for task in TASKS}
"""The numbers that say what an export has cost, and their titles."""


@dataclass(frozen=True)
class Quality:
    """The numbers of a split, as metrics.json has them.

    Attributes:
        split: train, val or test.
        task: segmentation or classification.
        pytorch: of the network, in float32.
        exported: of the file.
    """

    split: str
    task: str
    pytorch: Mapping[str, Any]
    exported: Mapping[str, Any]

    @property
    def lost(self) -> dict[str, float]:
        """By how much the file is worse, by the names in `JUDGED_BY`; below zero where it is better."""
        return {name: self.pytorch[name] - self.exported[name] for name in JUDGED_BY[self.task]}

    def to_dict(self) -> dict[str, Any]:
        def brief(numbers: Mapping[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in numbers.items() if key != "confusion"}

        return {
            "split": self.split,
            "n": self.pytorch["n"],
            "pytorch": brief(self.pytorch),
            "exported": brief(self.exported),
            "lost": self.lost,
        }


@dataclass(frozen=True)
class Bench:
    """The run's task, holding the weights that are exported, and its data set.

    Attributes:
        config: the run's.
    """

    config: DictConfig
    task: StreetTask
    data: StreetData

    def split(self, asked: str | None) -> str:
        """The split to test on; the one that the run reports where none is asked for.

        Raises:
            UserError: that split has no labels.
        """
        return self.data.splits[-1] if asked is None else self.data.labelled_split(asked)

    def photos(self, split: str, count: int) -> list[Pixels]:
        """Images of an opened split as they are cached, evenly spread over it; fewer where it has fewer."""
        rows = np.linspace(0, len(self.data.samples(split)) - 1, count).astype(int)
        return [self.data.cached_image(split, row) for row in np.unique(rows).tolist()]


def open_bench(run: RunRecord, weights: TrainedWeights) -> Bench:
    """Rebuild the run's task and data set; no split is opened yet.

    Raises:
        UserError: the data set is not there, or is another one.
    """
    config = copy.deepcopy(recorded_config(run.located_config, []).config)
    if "full_resolution" in config.task:
        config.task.full_resolution = "none"  # costs much, and tells nothing more of the file
    return Bench(config, *rebuild(config, weights))


def evaluate_both(bench: Bench, split: str, exported: ExportedNetwork) -> Quality:
    """Test the network, then the file in its place: on the CPU, in float32.

    Args:
        split: opened.
    """
    trainer: pl.Trainer = instantiate(
        bench.config.trainer, accelerator="cpu", devices=1, num_nodes=1, strategy="auto", precision="32-true",
        enable_checkpointing=False,
    )  # fmt: skip
    unwritten = RunRecord(Path(trainer.default_root_dir))  # of an evaluation only the numbers are wanted
    numbers = []
    for network in (bench.task.network, exported):
        with _in_place(bench.task, network):
            numbers.append(evaluate_splits(trainer, bench.task, bench.data, unwritten, (split,))[1][split])
    return Quality(split, bench.task.task, *numbers)


@contextmanager
def _in_place(task: StreetTask, network: nn.Module) -> Iterator[None]:
    own, task.network = task.network, network
    try:
        yield
    finally:
        task.network = own

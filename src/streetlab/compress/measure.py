"""Measure the effect of pruning: parameters, multiply-adds, latency, and quality on val and test."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import nn

from streetlab.config import instantiate
from streetlab.loading.datamodule import StreetData
from streetlab.networks.cost import describe
from streetlab.progress import track
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.training.evaluate_splits import Numbers, evaluate_splits
from streetlab.training.interruption import exit_as_ctrl_c

_WARM_UP = 5
_ROUNDS = 100
_SECONDS = 30.0
"""At most, of each comparison of two networks; a round is one image through each."""


def quality(config: DictConfig, task: StreetTask, data: StreetData, record: RunRecord) -> dict[str, Any]:
    """The task's numbers on val and, where its truth is known, on test.

    Args:
        config: the run's; its Trainer evaluates.
        record: which the evaluation is for; nothing is written to it.

    Returns:
        by split, see `shown`.
    """
    trainer: pl.Trainer = instantiate(config.trainer, enable_checkpointing=False)
    splits = data.splits[1:]
    with exit_as_ctrl_c():
        _, numbers = evaluate_splits(trainer, task, data, record, splits)
    return shown(task.metrics, numbers)


def shown(metrics: tuple[str, ...], numbers: Numbers) -> dict[str, Any]:
    """Of the numbers in metrics.json those that the report shows: each split's loss, `metrics` and n."""
    names = ("loss", *metrics, "n")
    return {split: {name: numbers[split][name] for name in names} for split in ("val", "test") if split in numbers}


def cost(network: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """`parameters` and `gmacs`."""
    described = describe(network, image_size)
    return {key: described[key] for key in ("parameters", "gmacs")}


def latency(
    before: nn.Module, after: nn.Module, image_size: tuple[int, int], device: torch.device
) -> dict[str, dict[str, Any]]:
    """Milliseconds of one image through each network, in eager PyTorch and float32.

    The two take turns, so that whatever else the machine does slows both. They stay on the device.

    Returns:
        `before` and `after`: `p50`, `p95` and `n`.
    """
    image = torch.rand(1, 3, *image_size, device=device)
    networks = {"before": before.to(device).eval(), "after": after.to(device).eval()}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    began = time.perf_counter()
    with torch.inference_mode():
        for turn in track(range(_WARM_UP + _ROUNDS), "measuring latency"):
            for name, network in networks.items():
                started = time.perf_counter()
                network(image)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if turn >= _WARM_UP:
                    seconds[name].append(time.perf_counter() - started)
            if turn > _WARM_UP and time.perf_counter() - began > _SECONDS:
                break
    return {
        name: {"p50": 1e3 * float(np.median(times)), "p95": 1e3 * float(np.percentile(times, 95)), "n": len(times)}
        for name, times in seconds.items()
    }

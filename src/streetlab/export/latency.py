"""Measure the latency of one image: the exported file against PyTorch, alternating, on as many threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from streetlab.export.graph import DeployedNetwork
from streetlab.export.parity import Pixels
from streetlab.inference.exported import ExportedNetwork
from streetlab.progress import counting

_WARM_UP, _ROUNDS = 2, 30
_SECONDS, _LEAST_ROUNDS = 20.0, 5
"""A slow network is measured for so long, but in so many rounds at least."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of each call with one image, whole pixels in, logits out.

    Attributes:
        image_size: (height, width).
        threads: that each image was computed with.
        pytorch, exported: one number for each round.
    """

    image_size: tuple[int, int]
    threads: int
    pytorch: np.ndarray
    exported: np.ndarray

    @property
    def ratio(self) -> float:
        """The file's speedup over PyTorch, by the medians."""
        return float(np.median(self.pytorch) / np.median(self.exported))

    def to_dict(self) -> dict[str, Any]:
        return {
            "image_size": self.image_size,
            "batch": 1,
            "device": "cpu",
            "threads": self.threads,
            "rounds": len(self.pytorch),
            "pytorch": _percentiles(self.pytorch),
            "exported": _percentiles(self.exported),
            "ratio": self.ratio,
        }


@torch.inference_mode()
def measure(module: DeployedNetwork, exported: ExportedNetwork, photo: Pixels) -> Latency:
    """Time both in turns, so that whatever else the machine does meets both.

    Args:
        module: on the CPU.
        exported: opened with as many threads as torch has.
        photo: (H, W, 3) uint8.
    """
    images = np.array(photo[None])  # photos from the cache are read-only, which torch warns of
    tensor = torch.from_numpy(images)
    turns: tuple[Callable[[], object], ...] = (lambda: module(tensor), lambda: exported.pixels(images))
    times: list[list[float]] = [[], []]
    began = time.perf_counter()
    with counting("latency", _ROUNDS) as show:
        for number in range(_WARM_UP + _ROUNDS):
            for turn, taken in zip(turns, times, strict=True):
                start = time.perf_counter()
                turn()
                taken.append(1000 * (time.perf_counter() - start))
            measured = number + 1 - _WARM_UP
            show(max(measured, 0), _ROUNDS)
            if measured >= _LEAST_ROUNDS and time.perf_counter() - began > _SECONDS:
                break
    pytorch, file = (np.array(taken[_WARM_UP:]) for taken in times)
    height, width = photo.shape[:2]
    return Latency((height, width), torch.get_num_threads(), pytorch, file)


def _percentiles(milliseconds: np.ndarray) -> dict[str, float]:
    return {f"p{p}_ms": round(float(np.percentile(milliseconds, p)), 3) for p in (50, 95)}

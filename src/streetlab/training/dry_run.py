"""Run training steps without effect: all that they change is put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from streetlab.tasks.base import StreetTask


@contextmanager
def without_a_trace(task: StreetTask) -> Iterator[None]:
    """Weights, statistics, gradients, modes, device and random state are afterwards what they were; nothing is logged.

    The copies lie in the memory of the CPU, since a trial may be about that of the device.
    """
    network = task.network
    device = next(task.parameters()).device
    tensors = [*network.parameters(), *network.buffers()]
    kept = [tensor.detach().to("cpu", copy=True) for tensor in tensors]
    gradients = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    modes = [(module, module.training) for module in network.modules()]
    task.log = _log_nothing  # type: ignore[method-assign]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        del task.log
        task.to(device)
        with torch.no_grad():
            for tensor, copy in zip((*network.parameters(), *network.buffers()), kept, strict=True):
                tensor.copy_(copy)
        for parameter, requires_grad, gradient in gradients:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for module, training in modes:
            module.training = training


def _log_nothing(*args: object, **kwargs: object) -> None:
    """Replaces `LightningModule.log`, which is for training alone."""

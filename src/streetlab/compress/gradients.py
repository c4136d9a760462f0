"""Gradients of the loss on training photos, by which `importance=taylor` ranks channels."""

from __future__ import annotations

from itertools import islice

import torch
from lightning_fabric.utilities import move_data_to_device

from streetlab.loading.datamodule import Batch, StreetData
from streetlab.progress import track
from streetlab.tasks.base import StreetTask

_IMAGES = 256
"""How many photos the gradients are of, at most."""


def accumulate_gradients(task: StreetTask, data: StreetData, device: torch.device) -> None:
    """Leave in every parameter of the task's network the gradient of the loss, summed over batches of train.

    The photos are as they are, without augmentation, and normalisation keeps its statistics.
    """
    data.open(("train",))
    network = task.network.to(device).eval().requires_grad_(True)
    task.loss.to(device)
    network.zero_grad(set_to_none=True)
    batches = max(1, _IMAGES // data.batch_size)
    for batch in track(islice(data.train_dataloader(), batches), "gradients, in batches of training photos"):
        here: Batch = data.on_after_batch_transfer(move_data_to_device(batch, device), 0)
        task.label_loss(network(here["images"]), here).backward()
    for parameter in network.parameters():
        if parameter.grad is None:  # it has no part in the loss
            parameter.grad = torch.zeros_like(parameter)

"""Measure a network's cost by one forward pass: parameters and multiply-accumulates."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from streetlab.errors import UserError


def parameter_count(network: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, shared ones once; with `trainable`, of those that take gradients."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


def macs(network: nn.Module, image_size: tuple[int, int]) -> int:
    """Multiply-accumulates of one forward pass of one image: convolutions, linear layers and attention.

    Counted with PyTorch's `FlopCounterMode`, which reckons two FLOPs to each; what is usually published as a
    network's "GFLOPs" are these. The network's modes, gradients, buffers and device are left as they are.

    Args:
        image_size: (height, width) in pixels.

    Raises:
        UserError: the network does not take images of that size.
    """
    height, width = image_size
    parameter = next(network.parameters())
    image = torch.zeros(1, 3, height, width, device=parameter.device, dtype=parameter.dtype)
    modes = [(module, module.training) for module in network.modules()]
    counter = FlopCounterMode(display=False)
    try:
        network.eval()
        with torch.no_grad(), counter:
            network(image)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{type(network).__name__} does not take images of {height}×{width}: {reason}") from error
    finally:
        for module, training in modes:
            module.training = training
    return counter.get_total_flops() // 2


def describe(network: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """A network's cost as plain data for a run's record.

    Returns:
        `parameters` and `trainable_parameters` (counts), `gmacs` (10⁹ multiply-accumulates for one image) and
        the `image_size` [height, width] that it is for.

    Raises:
        UserError: the network does not take images of that size.
    """
    return {
        "parameters": parameter_count(network),
        "trainable_parameters": parameter_count(network, trainable=True),
        "gmacs": macs(network, image_size) / 1e9,
        "image_size": [int(image_size[0]), int(image_size[1])],
    }

"""Activation checkpointing: a block keeps its inputs alone and computes the rest again in the backward pass.

Chen et al. 2016, arXiv:1604.06174: about a third more arithmetic for a part of the memory. Three invariants, each
tested: losses, gradients and BatchNorm's statistics are those of the same network without it; the state dict has the
same keys; outside of training nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from streetlab.errors import UserError


def check_checkpointing(asked: object) -> bool:
    """`trainer.checkpointing` as it was written.

    Raises:
        UserError: it is neither true nor false.
    """
    if not isinstance(asked, bool):
        raise UserError(f"trainer.checkpointing: '{asked}' is not true or false")
    return asked


def checkpoint_blocks(network: nn.Module) -> list[str]:
    """Recompute the activations of every block in the backward pass; return the blocks' names.

    Raises:
        UserError: the network is no row of blocks.
    """
    blocks = dict(find_blocks(network))
    if not blocks:
        raise UserError(
            f"trainer.checkpointing: {type(network).__name__} has no row of blocks whose activations could be computed "
            "again; use a smaller batch_size"
        )
    for block in blocks.values():
        block.forward = partial(_recomputed, block, block.forward)
    return list(blocks)


def find_blocks(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Find the smallest composite modules that stand in a row, by name: residual blocks, a transformer's, a decoder's.

    A composite holds other modules and is no row (`nn.Sequential`, `nn.ModuleList`) itself.
    """
    row = isinstance(network, nn.Sequential | nn.ModuleList)
    for name, child in network.named_children():
        inner = list(find_blocks(child, f"{prefix}{name}."))
        composite = not isinstance(child, nn.Sequential | nn.ModuleList) and any(True for _ in child.children())
        if inner:
            yield from inner
        elif row and composite and next(child.parameters(), None) is not None:
            yield f"{prefix}{name}", child


def _recomputed(block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    if torch.compiler.is_compiling():  # a compiled graph computes again what is pure, and updates statistics once
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=partial(_contexts, block), **kwargs)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Contexts of the forward pass and of its recomputation."""
    return nullcontext(), _on_copies(block)


@contextmanager
def _on_copies(block: nn.Module) -> Iterator[None]:
    """Discard the block's updates of its buffers: BatchNorm has averaged this batch in already."""
    kept = [
        (module, name, buffer)
        for module in block.modules()
        if module.training
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in kept:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in kept:
            setattr(module, name, buffer)

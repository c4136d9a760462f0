"""Compile a network for image sizes that recur; where compiling fails, compute uncompiled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from streetlab.errors import UserError, first_line, root_cause
from streetlab.training.memory import is_out_of_memory

log = logging.getLogger(__name__)

_MOST_SHAPES = 4
"""Graphs that are made at most: each takes from half a minute to minutes. Dynamo itself gives up after eight."""


class CompiledPredictor(nn.Module):
    """Gives the logits of a network from graphs for fixed shapes (B, 3, H, W).

    A shape is compiled when it comes for the second time, so that the smaller last batch of a folder, or a folder of
    photos that each have a size of their own, does not compile what is used once. On a GPU, single images go through
    CUDA graphs: all kernels of the network are one launch.

    Args:
        network: in eval mode on its device; it is not changed, and computes all that is not compiled.
        backend: of torch.compile.
    """

    def __init__(self, network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
        super().__init__()
        self.network = network
        self._batches = torch.compile(self._logits, dynamic=False, backend=backend)
        # modes are inductor's own
        graphs = {"mode": "reduce-overhead"} if backend == "inductor" else {"backend": backend}
        self._single = torch.compile(self._logits, dynamic=False, **graphs)
        self._seen: set[torch.Size] = set()
        self._compiled: set[torch.Size] = set()
        self._failed = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) or (B, K, H, W) of normalised images."""
        if images.shape in self._compiled:
            return self._by_graph(images)
        if self._failed or images.shape not in self._seen or len(self._compiled) == _MOST_SHAPES:
            self._seen.add(images.shape)
            return self._logits(images)
        return self._first_by_graph(images)

    def _first_by_graph(self, images: Tensor) -> Tensor:
        shape = "x".join(map(str, images.shape))
        log.info("compiling the network for images of %s", shape)
        began = time.perf_counter()
        try:
            logits = self._by_graph(images)
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, UserError):
                raise
            self._failed = True
            cause = root_cause(error)
            log.warning("compile: prediction goes on uncompiled: %s", first_line(cause) or type(cause).__name__)
            return self._logits(images)
        self._compiled.add(images.shape)
        log.info("compiled for %s in %.1f s", shape, time.perf_counter() - began)
        return logits

    def _by_graph(self, images: Tensor) -> Tensor:
        if images.device.type != "cuda" or len(images) > 1:
            return self._batches(images)
        torch.compiler.cudagraph_mark_step_begin()
        return self._single(images).clone()  # the next image's logits will lie where these do

    def _logits(self, images: Tensor) -> Tensor:
        output = self.network(images)
        return getattr(output, "logits", output)


def uncompiled(network: nn.Module) -> nn.Module:
    """The network itself, whose layers can be looked into."""
    return network.network if isinstance(network, CompiledPredictor) else network

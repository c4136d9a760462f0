"""A network's graph as PyTorch's own file, which `torch.export.load` opens without the code that built the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from streetlab.errors import UserError, first_line
from streetlab.export.graph import DeployedNetwork, silenced, trace
from streetlab.export.same_padding import prepare_same_padding


def write_torch(
    module: DeployedNetwork, image_size: tuple[int, int], target: Path, metadata: Mapping[str, str]
) -> None:
    """Write the file; batch, height and width are free.

    Args:
        image_size: see `graph.trace`.
        target: written in place, so name a temporary file; its suffix is `.pt2`.
        metadata: texts by key, stored as `extra_files`.

    Raises:
        UserError: see `graph.trace`; or images of `image_size` are so small that PyTorch needs a graph of their own.
    """
    prepare_same_padding(module.network, as_one=False)
    program = trace(module, image_size)
    try:
        with torch.inference_mode():
            program.module()(torch.zeros(1, *image_size, 3, dtype=torch.uint8))
    except (AssertionError, RuntimeError) as error:
        height, width = image_size
        raise UserError(
            f"format: the graph of {type(module.network).__name__} does not take its own {height}x{width} pixels "
            f"({first_line(error)}); format=onnx may"
        ) from error
    with silenced():
        torch.export.save(program, target, extra_files=dict(metadata))

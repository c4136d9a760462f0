"""Turn an exporter's error into one line that names the layer or operation at fault."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from streetlab.errors import first_line


def layer_of(error: BaseException, network: nn.Module) -> str:
    """The innermost layer that was being computed when the error arose, as `its layer layer4.0 (Block)`.

    Returns:
        `it` where the error arose in no layer of the network.
    """
    names = {id(layer): name for name, layer in network.named_modules() if name}
    for cause in _causes(error):
        inside = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(cause.__traceback__)]
        layers = [layer for layer in inside if id(layer) in names]
        if layers:
            return f"its layer {names[id(layers[-1])]} ({type(layers[-1]).__name__})"
    return "it"


def operation_of(error: BaseException) -> str | None:
    """The operation of a traced graph that was being translated, as `aten.linalg_qr.default in block.1 (Odd)`.

    Returns:
        None where the error arose elsewhere.
    """
    for cause in _causes(error):
        inside = [frame.f_locals.get("node") for frame, _ in traceback.walk_tb(cause.__traceback__)]
        nodes = [node for node in inside if isinstance(node, torch.fx.Node)]
        if nodes:
            return f"{nodes[-1].target}{_place(nodes[-1])}"
    return None


def reason(error: BaseException) -> str:
    """The error behind all others, in one line."""
    cause = next(_causes(error))
    return f"{type(cause).__name__}: {first_line(cause)}"


def _place(node: torch.fx.Node) -> str:
    """The layer that a node of a graph comes from, which torch.export notes as a path and a class."""
    stack: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    if not stack:
        return ""
    path, kind = list(stack.values())[-1]
    path = path.removeprefix("L['self'].").removeprefix("network.")
    name = str(kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
    return f" in {path} ({name})" if path else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to this one, the very first of them first, and the error itself."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    yield from reversed(chain)

"""Read an ONNX graph that is rewritten in lower precision: its first and last layers, and its metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streetlab.errors import UserError, first_line
from streetlab.inference.model_metadata import KEY, ModelMetadata
from streetlab.io import files

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Ends:
    """The first and last layers of a graph; the nodes outside are cheap and stay in float32.

    Attributes:
        front: names of the nodes that no layer's output reaches: normalisation, padding, sizes.
        first, last: the layers, nodes with weights, that come first and last.
        tail: names of the nodes that the last layer's output reaches: enlarging and cropping of the logits.
    """

    front: frozenset[str]
    first: NodeProto
    last: NodeProto
    tail: frozenset[str]


def read_graph(path: Path) -> ModelProto:
    """An ONNX file with its weights.

    Raises:
        UserError: it is not there or does not load; onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("precision: int8 and fp16 need onnx: pip install 'streetlab[export]'") from error
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's exceptions have no base of their own
        raise UserError(f"{path} is no ONNX model ({first_line(error) or type(error).__name__})") from error
    return model


def find_ends(model: ModelProto, file: object) -> Ends:
    """The ends of a graph, whose nodes are in topological order, as ONNX wants them.

    Args:
        file: named in errors.

    Raises:
        UserError: it has no layer, so that there is nothing to be had from fewer bits.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = model.graph.node
    layers = [node for node in nodes if node.op_type in _WEIGHTED and weights & set(node.input)]
    if not layers:
        raise UserError(f"precision: {file} has no layer to put into fewer bits ({', '.join(_WEIGHTED)})")
    behind = _reached(nodes, (name for layer in layers for name in layer.output))
    front = frozenset(node.name for node in nodes) - behind - {layer.name for layer in layers}
    return Ends(front, layers[0], layers[-1], _reached(nodes, layers[-1].output))


def write_graph(model: ModelProto, original: ModelProto, precision: str, target: Path) -> None:
    """Write a graph with the metadata of the one that it was made of, which name its own precision.

    Raises:
        UserError: the metadata are damaged, or the file cannot be written.
    """
    import onnx

    texts = {entry.key: entry.value for entry in original.metadata_props}
    if KEY in texts:
        metadata = ModelMetadata.from_metadata(texts, target)
        texts |= dataclasses.replace(metadata, precision=precision).to_metadata()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, texts)
    files.write_bytes(target, model.SerializeToString())


def _reached(nodes: Iterable[NodeProto], values: Iterable[str]) -> frozenset[str]:
    """Names of the nodes that take in one of the values, directly or by way of others."""
    known, names = set(values), set()
    for node in nodes:
        if known & set(node.input):
            known |= set(node.output)
            names.add(node.name)
    return frozenset(names)

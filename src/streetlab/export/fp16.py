"""FP16 for GPUs: weights and layers in half precision, pixels and logits in float32.

The graph is converted, not the network by `.half()` before its export: that would upsample the logits in half
precision, where in one small trained segmenter 0.15% of the pixels tied for the largest score (here none did) and 1.5
times as many changed their class. ONNX Runtime's converter casts nodes that it is to keep in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streetlab.errors import UserError, first_line
from streetlab.export.onnx_graph import find_ends, read_graph, write_graph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_FLOAT32_BY_DEFINITION = {"Resize": (1, 2)}
"""Places of inputs that ONNX does not take in half precision, or that are no data: the region and the scales."""


def convert_fp16(fp32: Path, target: Path) -> None:
    """Write the FP16 version of an exported ONNX file, of half the size: the same input, output and metadata.

    In float32 remain what lies before the first layer and behind the last: in half precision, neighbouring pixels of
    enlarged logits would come out with the same scores, and argmax take the first. It is for GPUs; most CPUs have no
    half precision of their own and convert back as they compute.

    Raises:
        UserError: `fp32` does not load or has no layers; something in it cannot be converted; onnx is missing. Nothing
            is written then.
    """
    model = read_graph(fp32)
    ends = find_ends(model, fp32)
    try:
        converted = _Conversion(model, ends.front | ends.tail).model
    except UserError:
        raise
    except Exception as error:  # what onnx's type inference makes of a graph that it does not know
        said = first_line(error) or type(error).__name__
        raise UserError(f"precision: {fp32} cannot be converted to fp16 ({said}); precision=fp32") from error
    write_graph(converted, model, "fp16", target)


class _Conversion:
    """A copy of a graph with half precision between its ends; casts stand where the two precisions meet.

    Args:
        floats: names of the nodes that stay in float32.

    Attributes:
        model: the copy.

    Raises:
        UserError: a weight is too large, or a node has a graph of its own (a loop, a condition).
    """

    def __init__(self, model: ModelProto, floats: frozenset[str]) -> None:
        import onnx

        self._onnx = onnx
        self.model = onnx.shape_inference.infer_shapes(model)
        graph = self.model.graph
        single = onnx.TensorProto.FLOAT
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._single = {tensor.name for tensor in graph.initializer if tensor.data_type == single} | {
            value.name
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.elem_type == single
        }
        self._half: set[str] = set()
        self._twins: dict[str, str] = {}
        self._nodes: list[NodeProto] = []
        outputs = {value.name for value in graph.output}
        for node in list(graph.node):
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise UserError(f"precision: {node.op_type} of {node.name} cannot be put into fp16; precision=fp32")
            if node.name in floats:
                self._feed(node, {place for place, name in enumerate(node.input) if name in self._half})
                self._nodes.append(node)
            else:
                self._convert(node, outputs)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for name, tensor in self._weights.items() if name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _convert(self, node: NodeProto, outputs: set[str]) -> None:
        """Add the node in half precision, and casts of its outputs where the graph's own are among them."""
        fixed = _FLOAT32_BY_DEFINITION.get(node.op_type, ())
        taken = {place for place, name in enumerate(node.input) if name in self._single and place not in fixed}
        to = next((attribute for attribute in node.attribute if attribute.name == "to"), None)
        if node.op_type == "Cast" and to is not None and to.i == self._onnx.TensorProto.FLOAT:
            to.i = self._onnx.TensorProto.FLOAT16
        elif not any(name in self._single for name in node.input):
            self._nodes.append(node)  # sizes, and constants that come from no input
            return
        self._feed(node, taken - {place for place in taken if node.input[place] in self._half})
        self._nodes.append(node)
        for place, name in enumerate(node.output):
            if name in outputs:
                node.output[place] = f"{name}_half"
                self._nodes.append(self._cast(node.output[place], name, self._onnx.TensorProto.FLOAT))
            elif name in self._single:
                self._half.add(name)

    def _feed(self, node: NodeProto, places: set[int]) -> None:
        """Give the node the twin, in the other precision, of its inputs in these places."""
        for place in places:
            name = node.input[place]
            if name not in self._twins:
                self._twins[name] = self._half_weight(name) if name in self._weights else self._cast_of(name)
            node.input[place] = self._twins[name]

    def _half_weight(self, name: str) -> str:
        with np.errstate(over="ignore"):
            values = self._onnx.numpy_helper.to_array(self._weights[name]).astype(np.float16)
        if not np.isfinite(values).all():
            raise UserError(f"precision: {name} has values beyond 65504, the largest of fp16; precision=fp32")
        twin = f"{name}_half"
        self._weights[twin] = self._onnx.numpy_helper.from_array(values, twin)
        return twin

    def _cast_of(self, name: str) -> str:
        types = self._onnx.TensorProto
        twin, to = (f"{name}_single", types.FLOAT) if name in self._half else (f"{name}_half", types.FLOAT16)
        self._nodes.append(self._cast(name, twin, to))
        return twin

    def _cast(self, name: str, twin: str, to: int) -> NodeProto:
        return self._onnx.helper.make_node("Cast", [name], [twin], name=f"cast_{twin}", to=to)

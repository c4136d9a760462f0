"""A small network, trained for a second, as an ONNX file that no exporter wrote: made in no time, graph and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from streetlab.datasets.labels import CITYSCAPES
from streetlab.inference.model_metadata import INPUT, OUTPUT, ModelMetadata
from streetlab.loading.augment import normalize
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.synthetic import draw_scene

SIZE = (48, 96)
METADATA = ModelMetadata("streets", CITYSCAPES, SIZE, "00", 1, "fp32", 1.5, {"torch": "2"})
_FRONT = (
    ("Cast", [INPUT], "whole", {"to": TensorProto.FLOAT}),
    ("Transpose", ["whole"], "planes", {"perm": [0, 3, 1, 2]}),
    ("Sub", ["planes", "mean"], "centred", {}),
    ("Div", ["centred", "std"], "pixels", {}),
)
_ENLARGED = (
    ("Shape", ["scores"], "batch", {"end": 2}),
    ("Shape", [INPUT], "size", {"start": 1, "end": 3}),
    ("Concat", ["batch", "size"], "full", {"axis": 0}),
    ("Resize", ["scores", "", "", "full"], OUTPUT, {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
)
_POOLED = (
    ("GlobalAveragePool", ["values"], "means", {}),
    ("Flatten", ["means"], "features", {}),
    ("Gemm", ["features", "fc.weight", "fc.bias"], OUTPUT, {"transB": 1}),
)


def scenes(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic streets (B, H, W, 3) and their classes (B, H, W), uint8."""
    drawn = [draw_scene(seed, *SIZE) for seed in range(first, first + count)]
    return np.stack([scene.image for scene in drawn]), np.stack([scene.mask for scene in drawn])


def write_segmenter(path: Path) -> Path:
    """Each pixel's class of 19, decided at half the size by four convolutions and enlarged."""
    torch.manual_seed(0)
    first, second, third = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU(), nn.Conv2d(16, 19, 1))
    images, masks = scenes(0, 8)
    pixels, truth = normalize(torch.from_numpy(images).permute(0, 3, 1, 2)), torch.from_numpy(masks).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        logits = F.interpolate(network(pixels), SIZE, mode="bilinear", align_corners=False)
        optimizer.zero_grad()
        F.cross_entropy(logits, truth, ignore_index=255).backward()
        optimizer.step()
    return _write(path, [*_FRONT, *_convolutions(network, "scores"), *_ENLARGED], network.state_dict(), 4)


def write_classifier(path: Path) -> Path:
    """A photo's class of three: two convolutions, the mean over the photo, one linear layer."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    weights = network.state_dict() | {f"fc.{key}": value for key, value in nn.Linear(8, 3).state_dict().items()}
    return _write(path, [*_FRONT, *_convolutions(network, "values"), *_POOLED], weights, 2)


def layer_weights(path: Path) -> dict[str, np.ndarray]:
    """Collect the weights that each layer uses, behind any DequantizeLinear, by the layer's name."""
    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    return {node.name: stored[made.get(node.input[1], node.input[1])] for node in layers}


def _convolutions(network: nn.Sequential, result: str) -> list[tuple[str, list[str], str, dict]]:
    nodes, value = [], "pixels"
    for place, layer in enumerate(network):
        output = result if place == len(network) - 1 else f"value_{place}"
        if isinstance(layer, nn.Conv2d):
            options = {"strides": list(layer.stride), "pads": list(layer.padding) * 2}
            nodes.append(("Conv", [value, f"{place}.weight", f"{place}.bias"], output, options))
        else:
            nodes.append(("Relu", [value], output, {}))
        value = output
    return nodes


def _write(path: Path, nodes: Sequence[tuple], weights: Mapping[str, torch.Tensor], rank: int) -> Path:
    made: list[NodeProto] = [
        helper.make_node(kind, inputs, [output], name=f"make_{output}", **options)
        for kind, inputs, output, options in nodes
    ]
    tensors = {name: tensor.numpy() for name, tensor in weights.items()}
    for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        tensors[name] = np.array(values, np.float32).reshape(3, 1, 1) * 255
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["B", "H", "W", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", "K", "h", "w"][:rank])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, METADATA.to_metadata() | {"made by": "hand"})
    onnx.save(model, path)
    return path

"""Exported files: of runs that were never trained, and of a graph by hand that takes no time at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import Tensor, nn

from streetlab.datasets.labels import CITYSCAPES, LabelSpace
from streetlab.export.graph import DeployedNetwork
from streetlab.export.onnx_file import write_onnx
from streetlab.export.torch_file import write_torch
from streetlab.inference.model_metadata import INPUT, OUTPUT, ModelMetadata
from streetlab.inference.predictor import Predictor

CONVOLUTIONS = {"_target_": "tests.support.crafted_runs.Convolutions", "_partial_": True, "sides": [3, 1]}
AVERAGES = {"_target_": "tests.support.exports.Averages", "_partial_": True}
METADATA = ModelMetadata("crafted", CITYSCAPES, (64, 96), "0" * 64, 5, "fp32", None, {})


class Averages(nn.Module):
    """A classifier: the means of a convolution."""

    task = "classification"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu().mean(dim=(2, 3)) * 20


def metadata_of(predictor: Predictor) -> ModelMetadata:
    return ModelMetadata(
        predictor.name, predictor.label_space, predictor.image_size, predictor.sha256, predictor.epoch, "fp32",
        predictor.fitted, {"torch": "2"},
    )  # fmt: skip


def export(run: Path, target: Path) -> Path:
    """The best weights of a run as such a file."""
    predictor = Predictor.from_run(run, device="cpu")
    target.parent.mkdir(exist_ok=True)
    write: Any = write_onnx if target.suffix == ".onnx" else write_torch
    write(DeployedNetwork(predictor.network), predictor.image_size, target, metadata_of(predictor).to_metadata())
    return target


def write_by_hand(
    target: Path,
    metadata: ModelMetadata | None = METADATA,
    sides: tuple[Any, Any] = ("height", "width"),
    names: tuple[str, str] = (INPUT, OUTPUT),
    **changed: Any,
) -> Path:
    """An ONNX file whose classes are the colours' brightness.

    Args:
        metadata: what its metadata say; None: nothing.
        sides: height and width that it takes; words for any.
        names: of input and output.
        changed: attributes of the metadata.
    """
    space = LabelSpace("colours", "segmentation", ("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    given, found = names
    nodes = [
        helper.make_node("Cast", [given], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], [found], perm=[0, 3, 1, 2]),
    ]
    shapes = (["batch", *sides, 3], ["batch", 3, *sides])
    graph = helper.make_graph(
        nodes, "colours",
        [helper.make_tensor_value_info(given, TensorProto.UINT8, shapes[0])],
        [helper.make_tensor_value_info(found, TensorProto.FLOAT, shapes[1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is not None:
        helper.set_model_props(model, replace(metadata, **{"label_space": space} | changed).to_metadata())
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)
    return target

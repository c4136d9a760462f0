"""timm's layers with TensorFlow's padding: exported files pad images of any size as timm does, in one operation."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from tests.support.export_stand_ins import Segmenter
from timm.layers import Conv2dSame
from torch import nn

from streetlab.datasets.labels import CITYSCAPES
from streetlab.export.graph import DeployedNetwork
from streetlab.export.onnx_file import write_onnx
from streetlab.export.parity import compare
from streetlab.export.torch_file import write_torch
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.synthetic import draw_scene

SIZE = (64, 96)
METADATA = ModelMetadata("same", CITYSCAPES, SIZE, "00", 1, "fp32", None, {}).to_metadata()


def network() -> DeployedNetwork:
    """Strides of 2 with kernels of 3 and 5, as EfficientNet-Lite0 has them, a stride of 3, and one that skips rows."""
    torch.manual_seed(0)
    layers = (
        Conv2dSame(19, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        Conv2dSame(8, 8, 5, stride=2, groups=8),
        Conv2dSame(8, 8, (3, 5), stride=(3, 2)),
        Conv2dSame(8, 19, 1, stride=2),
    )
    return DeployedNetwork(Segmenter(19, nn.Sequential(*layers)))


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_onnx, "model.onnx"), pytest.param(write_torch, "model.pt2", marks=pytest.mark.slow)],
)
def test_files_pad_images_of_odd_sizes_as_timm_does(write, name, tmp_path: Path):
    module = network()
    write(module, SIZE, tmp_path / name, METADATA)
    exported = ExportedNetwork.open(tmp_path / name)
    agreement = compare(module, exported, SIZE, [draw_scene(seed, *SIZE).image for seed in range(3)])
    assert len(agreement.sizes) == 6
    assert agreement.largest_difference < 1e-4
    if name.endswith(".onnx"):
        nodes = onnx.load(tmp_path / name).graph.node
        ways = [attribute.s for node in nodes for attribute in node.attribute if attribute.name == "auto_pad"]
        assert ways.count(b"SAME_UPPER") == 4  # padding of its own ONNX Runtime would not join with the convolution
        assert "BatchNormalization" not in [node.op_type for node in nodes]

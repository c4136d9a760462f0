"""Every kind of network that streetlab trains is the same network as an ONNX file, at sizes that fit no stride."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.support.crafted_runs import settle

from streetlab.config import instantiate
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.export.graph import DeployedNetwork
from streetlab.export.onnx_file import write_onnx
from streetlab.export.parity import compare
from streetlab.export.report import AGREEING
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.synthetic import draw_scene

SIZE = (64, 96)
NETWORKS = {
    "deeplabv3": {"_target_": "streetlab.networks.deeplabv3.deeplabv3", "backbone": "resnet50"},
    "hrnetv2_small": {"_target_": "streetlab.networks.hrnetv2.hrnetv2", "width": 18, "small": True, "head": "custom"},
    "fpn_resnet18": {"_target_": "streetlab.networks.smp_network.smp_network", "decoder": "fpn", "encoder": "resnet18"},
    "resnet18": {"_target_": "streetlab.networks.classifiers.timm_classifier", "name": "resnet18.tv_in1k"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_gives_the_classes_of_the_network_at_odd_sizes_and_batches_of_one_to_three(name, tmp_path):
    description: dict[str, Any] = NETWORKS[name]
    space = CLEANLINESS if name == "resnet18" else CITYSCAPES
    torch.manual_seed(0)
    network = instantiate(description, num_classes=len(space))
    settle(network, SIZE)
    module = DeployedNetwork(network)
    metadata = ModelMetadata(name, space, SIZE, "00", 1, "fp32", None, {})
    file = tmp_path / "model.onnx"
    write_onnx(module, SIZE, file, metadata.to_metadata())
    photos = [draw_scene(seed, *SIZE).image for seed in range(3)]
    agreement = compare(module, ExportedNetwork.open(file), SIZE, photos)
    assert len(agreement.sizes) == 6
    assert agreement.share >= AGREEING
    assert agreement.largest_difference < 1e-2
    with torch.inference_mode():  # no agreement about one class that always wins
        assert len(np.unique(module(torch.from_numpy(np.stack(photos))).argmax(dim=1))) > 1

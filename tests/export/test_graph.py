"""What is inside an exported file: the photo's way to the network, and nothing that only the training needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.support.export_stand_ins import Segmenter
from torch import nn

from streetlab.datasets.labels import CITYSCAPES
from streetlab.errors import UserError
from streetlab.export.graph import DeployedNetwork, trace
from streetlab.export.onnx_file import write_onnx
from streetlab.export.parity import compare, odd_sizes
from streetlab.export.report import warnings
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.networks.classifiers import timm_classifier

METADATA = ModelMetadata("streets", CITYSCAPES, (48, 64), "00", 1, "fp32", None, {})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's ONNX file."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_onnx(stand_in(0), METADATA.image_size, path, METADATA.to_metadata())
    return path


def stand_in(seed: int) -> DeployedNetwork:
    torch.manual_seed(seed)
    return DeployedNetwork(Segmenter(19))


def test_photos_are_normalised_inside():
    photos = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = (photos / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    found = DeployedNetwork(nn.Identity())(torch.from_numpy(photos)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_networks_auxiliary_head_is_in_no_file(file):
    assert not [name for name in trace(stand_in(0), (48, 64)).state_dict if "aux" in name]
    assert not [tensor.name for tensor in onnx.load(file).graph.initializer if "aux" in tensor.name]


def test_the_file_takes_any_number_of_photos_of_any_size_and_tells_no_paths(file):
    model = onnx.load(file)
    (images,), (logits,) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    dims = images.type.tensor_type.shape.dim
    assert [dim.HasField("dim_param") for dim in dims] == [True, True, True, False]
    assert b"stand_ins.py" not in file.read_bytes()
    assert {entry.key for entry in model.metadata_props} == set(METADATA.to_metadata())


def test_odd_sizes_are_multiples_of_no_stride_and_stay_small():
    for size in ((64, 96), (1024, 2048), (32, 32)):
        sizes = odd_sizes(size)
        assert len(set(sizes)) == 5
        assert all(side % 2 == 1 for pair in sizes for side in pair)
        assert max(height * width for height, width in sizes) < 600_000


def test_a_file_of_other_weights_is_found_out_and_warned_of(file):
    photos = [np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)]
    exported = ExportedNetwork.open(file)
    assert compare(stand_in(0), exported, METADATA.image_size, photos).share == 1.0
    other = compare(stand_in(1), exported, METADATA.image_size, photos)
    assert other.share < 0.9
    assert other.largest_difference > 0.1
    report = {"file": "model_fp32.onnx", "precision": "fp32", "agreement": other.to_dict(), "quality": {}}
    (line,) = warnings(report)
    assert line.startswith("model_fp32.onnx agrees with PyTorch on ")


def test_a_network_of_one_size_is_compared_at_that(file):
    class OneSize(Segmenter):
        def forward(self, images):
            assert images.shape[-2:] == (48, 64)
            return super().forward(images)

    torch.manual_seed(0)
    photos = [np.zeros((48, 64, 3), np.uint8)]
    found = compare(DeployedNetwork(OneSize(19)), ExportedNetwork.open(file), METADATA.image_size, photos)
    assert (found.sizes, found.share) == (((48, 64),), 1.0)


def test_quality_lost_beyond_a_point_is_a_warning():
    quality = {"split": "test", "lost": {"miou": 0.034, "pixel_accuracy": 0.002}}
    report = {
        "file": "model_int8.onnx", "precision": "int8", "task": "segmentation", "quality": quality,
        "agreement": {"share": 0.95, "of": "pixels"},
    }  # fmt: skip
    (line,) = warnings(report)
    assert "model_int8.onnx loses 3.4 points of mIoU on test" in line


def test_a_network_of_one_size_is_no_file_and_says_what_would_be():
    network = timm_classifier(3, "vit_tiny_patch16_224", depth=1, image_size=(64, 64))
    with pytest.raises(UserError, match=r"takes images of 64x64 alone.*trained with \+model.dynamic_img_size=true"):
        trace(DeployedNetwork(network), (64, 64))

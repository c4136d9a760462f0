"""A model in eight bits is the same model: what it answers, what it takes, what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.support.halved import METADATA, SIZE, layer_weights, scenes, write_classifier

from streetlab.errors import UserError
from streetlab.export.int8 import quantize_int8
from streetlab.inference.export_metadata import read_model_metadata
from streetlab.inference.exported import ExportedNetwork


@pytest.fixture(scope="module")
def int8(fp32: Path) -> Path:
    target = fp32.with_name("int8.onnx")
    quantize_int8(fp32, target, scenes(100, 8)[0][:, None])
    return target


def test_nearly_every_pixel_keeps_its_class_and_no_quality_is_lost(fp32: Path, int8: Path):
    images, masks = scenes(200, 12)
    before, after = (ExportedNetwork.open(file).pixels(images).argmax(1) for file in (fp32, int8))
    counted = masks != 255
    right = (before == masks)[counted].mean()
    assert right > 0.4, "the network learnt nothing, so that this test would tell nothing"
    assert (before == after).mean() > 0.97
    assert (after == masks)[counted].mean() > right - 0.01


def test_its_layers_hold_eight_bits_between_the_first_and_the_logits(fp32: Path, int8: Path):
    first, *others = layer_weights(int8).values()
    assert first.dtype == np.float32
    assert [weights.dtype for weights in others] == [np.int8] * 3
    resized = next(node for node in onnx.load(int8).graph.node if node.op_type == "Resize")
    assert resized.input[0] in {tensor.name for tensor in _floats(int8)}, "logits are enlarged in integers"


def test_weights_are_those_of_the_float_network_by_the_formula(fp32: Path, int8: Path):
    """Symmetric and by output channel: q = round(w / s), s = max |w| / 64, which is seven bits with the sign."""
    name, floats = list(layer_weights(fp32).items())[1]
    stored = layer_weights(int8)[name]
    scale = np.abs(floats).max(axis=(1, 2, 3), keepdims=True) / 64
    np.testing.assert_array_equal(stored, np.round(floats / scale).astype(np.int8))
    graph = onnx.load(int8).graph
    node = next(node for node in graph.node if node.name == name)
    back = next(other for other in graph.node if other.output[0] == node.input[1])
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    np.testing.assert_allclose(tensors[back.input[1]], scale.ravel(), rtol=1e-6)
    assert not tensors[back.input[2]].any()


def test_any_number_of_images_of_any_size(fp32: Path, int8: Path):
    network = ExportedNetwork.open(int8)
    for shape in ((1, 33, 47), (3, 20, 90)):
        images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        logits = network.pixels(images)
        assert logits.shape == (shape[0], 19, *shape[1:])
        assert logits.dtype == np.float32


def test_the_card_says_int8_and_all_else_is_kept(int8: Path):
    metadata = read_model_metadata(int8)
    assert metadata.precision == "int8"
    assert {**vars(metadata), "precision": "fp32"} == vars(METADATA)
    kept = {entry.key: entry.value for entry in onnx.load(int8).metadata_props}
    assert kept.keys() == {*METADATA.to_metadata(), "made by"}


def test_images_are_asked_for_one_at_a_time(fp32: Path, tmp_path: Path):
    asked: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for seed in range(3):
            assert sorted(tmp_path.iterdir()) == []
            asked.append(seed)
            yield scenes(seed, 1)[0]

    quantize_int8(fp32, tmp_path / "int8.onnx", images())
    assert asked == [0, 1, 2]


def test_a_classifier_keeps_its_last_layer(tmp_path: Path):
    source, target = write_classifier(tmp_path / "fp32.onnx"), tmp_path / "int8.onnx"
    images = scenes(0, 8)[0]
    quantize_int8(source, target, images[:, None])
    assert [weights.dtype for weights in layer_weights(target).values()] == [np.float32, np.int8, np.float32]
    before, after = (ExportedNetwork.open(file).pixels(images) for file in (source, target))
    np.testing.assert_allclose(after, before, atol=0.05 * np.abs(before).max())


@pytest.mark.parametrize("none", [[], iter(())])
def test_no_images_is_one_line_and_no_file(fp32: Path, tmp_path: Path, none):
    with pytest.raises(UserError, match=r"^calibration: no images"):
        quantize_int8(fp32, tmp_path / "int8.onnx", none)
    assert not (tmp_path / "int8.onnx").exists()


def test_another_file_is_one_line_that_names_it(tmp_path: Path):
    (tmp_path / "photo.onnx").write_bytes(b"\xff\xd8 a photo")
    with pytest.raises(UserError, match=r"photo\.onnx is no ONNX model"):
        quantize_int8(tmp_path / "photo.onnx", tmp_path / "int8.onnx", scenes(0, 1)[0][:, None])
    with pytest.raises(UserError, match=r"gone\.onnx is no ONNX model"):
        quantize_int8(tmp_path / "gone.onnx", tmp_path / "int8.onnx", scenes(0, 1)[0][:, None])


def test_images_of_another_form_are_one_line_and_no_file(fp32: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot be quantized to int8 .*; precision=fp32"):
        quantize_int8(fp32, tmp_path / "int8.onnx", [np.zeros((1, 3, *SIZE), np.float32)])
    assert not (tmp_path / "int8.onnx").exists()


def test_a_graph_without_layers_is_one_line(tmp_path: Path):
    model = onnx.load(write_classifier(tmp_path / "fp32.onnx"))
    while model.graph.node[-1].output[0] != "pixels":
        model.graph.node.pop()
    model.graph.node[-1].output[0] = "logits"
    onnx.save(model, tmp_path / "front.onnx")
    with pytest.raises(UserError, match=r"front\.onnx has no layer"):
        quantize_int8(tmp_path / "front.onnx", tmp_path / "int8.onnx", scenes(0, 1)[0][:, None])


def _floats(path: Path) -> list[onnx.ValueInfoProto]:
    """The values of a graph that are float32 when they are computed: what DequantizeLinear gives is."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    return [value for value in graph.value_info if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]

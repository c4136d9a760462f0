"""A model in half precision is the same model in half a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support.halved import METADATA, layer_weights, scenes, write_classifier

from streetlab.errors import UserError
from streetlab.export.fp16 import convert_fp16
from streetlab.inference.export_metadata import read_model_metadata
from streetlab.inference.exported import ExportedNetwork


@pytest.fixture(scope="module")
def fp16(fp32: Path) -> Path:
    target = fp32.with_name("fp16.onnx")
    convert_fp16(fp32, target)
    return target


def test_all_but_a_thousandth_of_the_pixels_keep_their_class(fp32: Path, fp16: Path):
    images, _ = scenes(200, 12)
    before, after = (ExportedNetwork.open(file).pixels(images) for file in (fp32, fp16))
    assert after.dtype == np.float32
    assert (before.argmax(1) == after.argmax(1)).mean() >= 0.999


def test_weights_are_halves_of_the_float_networks(fp32: Path, fp16: Path):
    for before, after in zip(layer_weights(fp32).values(), layer_weights(fp16).values(), strict=True):
        assert after.dtype == np.float16
        np.testing.assert_array_equal(after, before.astype(np.float16))


def test_enlarged_logits_are_not_rounded_to_halves(fp16: Path):
    logits = ExportedNetwork.open(fp16).pixels(scenes(0, 1)[0])
    assert (logits != logits.astype(np.float16)).mean() > 0.5


def test_any_number_of_images_of_any_size(fp32: Path, fp16: Path):
    for shape in ((1, 33, 47), (3, 20, 90)):
        images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        before, after = (ExportedNetwork.open(file).pixels(images) for file in (fp32, fp16))
        np.testing.assert_allclose(after, before, atol=0.01 * np.abs(before).max())


def test_the_card_says_fp16_and_all_else_is_kept(fp16: Path):
    metadata = read_model_metadata(fp16)
    assert metadata.precision == "fp16"
    assert {**vars(metadata), "precision": "fp32"} == vars(METADATA)


def test_a_layer_that_gives_the_logits_themselves(tmp_path: Path):
    source, target = write_classifier(tmp_path / "fp32.onnx"), tmp_path / "fp16.onnx"
    convert_fp16(source, target)
    assert {weights.dtype for weights in layer_weights(target).values()} == {np.dtype(np.float16)}
    images = scenes(0, 4)[0]
    before, after = (ExportedNetwork.open(file).pixels(images) for file in (source, target))
    np.testing.assert_allclose(after, before, atol=0.01 * np.abs(before).max())


def test_weights_that_are_too_large_are_one_line_and_no_file(fp32: Path, tmp_path: Path):
    model = onnx.load(fp32)
    name = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), name))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(UserError, match=r"beyond 65504.*precision=fp32"):
        convert_fp16(tmp_path / "large.onnx", tmp_path / "fp16.onnx")
    assert not (tmp_path / "fp16.onnx").exists()


def test_a_condition_is_one_line_that_names_it(fp32: Path, tmp_path: Path):
    model = onnx.load(fp32)
    logits = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["logits"], ["chosen"])], "branch", [], [logits])
    always = numpy_helper.from_array(np.array(True), "always")
    model.graph.initializer.append(always)
    node = helper.make_node("If", ["always"], ["decided"], name="decide", then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    onnx.save(model, tmp_path / "if.onnx")
    with pytest.raises(UserError, match="If of decide"):
        convert_fp16(tmp_path / "if.onnx", tmp_path / "fp16.onnx")


def test_another_file_is_one_line_that_names_it(tmp_path: Path):
    (tmp_path / "photo.onnx").write_bytes(b"\xff\xd8 a photo")
    with pytest.raises(UserError, match=r"photo\.onnx is no ONNX model"):
        convert_fp16(tmp_path / "photo.onnx", tmp_path / "fp16.onnx")

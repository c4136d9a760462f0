"""INT8 for CPUs: weights and activations in eight bits, their ranges taken from images of val (static quantization)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streetlab.errors import UserError, first_line
from streetlab.export.onnx_graph import Ends, find_ends, read_graph, write_graph
from streetlab.inference.model_metadata import INPUT
from streetlab.loading.datamodule import StreetData
from streetlab.progress import track

if TYPE_CHECKING:
    from onnx import ModelProto

_IN_INTEGERS = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Add", "Mul", "Concat", "Resize",
    "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
_SEVEN_BITS = True
"""Weights from -64 to 64 instead of -127 to 127. An x86 CPU without VNNI adds two products of uint8 and int8 in 16
bits, which larger weights overflow, in silence (onnxruntime.ai, "Quantize ONNX models", on `reduce_range`). Nobody
knows where a file goes, and for HRNetV2-W18-Small the eighth bit was worth 0.03 points of mIoU and no time."""
_FEW_PRODUCTS = 64
"""A first layer that sums fewer for each value is faster in float32 (3x3 of three channels: by 3 ms of 27), one that
sums more in integers (7x7: by 14 ms of 37; at 512x256 on one core with VNNI)."""


def quantize_int8(fp32: Path, target: Path, images: Iterable[np.ndarray]) -> None:
    """Write the INT8 version of an exported ONNX file: the same input, output and metadata, free in size as before.

    Weights become int8, symmetric, with a scale for each output channel; activations uint8, between the smallest and
    the largest value that the images make them take (percentiles and entropy did no better, and hold every value at
    once). In float32 remain what lies before the first layer, and that layer where it is a small one; what lies behind
    the last, since logits that are enlarged in integers tie; and a last layer that gives a whole image's logits, as it
    takes no time.

    Args:
        images: uint8 (B, H, W, 3), RGB; read once, one after the other.

    Raises:
        UserError: `fp32` does not load or has no layers; there is no image; something in it cannot be quantized; onnx
            or onnxruntime is missing. Nothing is written then.
    """
    model = read_graph(fp32)
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
    except ImportError as error:
        raise UserError("precision: int8 needs onnxruntime: pip install 'streetlab[export]'") from error
    floats = _in_floats(model, find_ends(model, fp32))
    reader = _Reader(images)
    with tempfile.TemporaryDirectory(prefix="streetlab-int8-") as folder:
        source, quantized = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        prepared = type(model).FromString(model.SerializeToString())
        add_pre_process_metadata(prepared)  # or it advises to fold BatchNorm into layers, which the exporter has done
        source.write_bytes(prepared.SerializeToString())
        try:
            quantize_static(
                source,
                quantized,
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_IN_INTEGERS),
                per_channel=True,
                reduce_range=_SEVEN_BITS,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=sorted(floats),
            )
        except UserError:
            raise
        except Exception as error:  # the quantizer's and ONNX Runtime's exceptions have no base of their own
            said = first_line(error) or type(error).__name__
            raise UserError(f"precision: {fp32} cannot be quantized to int8 ({said}); precision=fp32") from error
        write_graph(read_graph(quantized), model, "int8", target)


def _in_floats(model: ModelProto, ends: Ends) -> set[str]:
    """Names of the nodes that stay as they are."""
    names = {*ends.front, *ends.tail}
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    summed = math.prod(shapes.get(ends.first.input[1], ())[1:])
    if ends.first.op_type == "Conv" and ends.first.name != ends.last.name and summed < _FEW_PRODUCTS:
        names.add(ends.first.name)
    if ends.last.op_type in ("Gemm", "MatMul"):
        names.add(ends.last.name)
    return names


class _Reader:
    """Images as ONNX Runtime's calibration asks for them (it looks for `get_next` alone).

    Raises:
        UserError: there is none.
    """

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        rest: Iterator[np.ndarray] = iter(images)
        first = next(rest, None)
        if first is None:
            raise UserError("calibration: no images; int8 takes the ranges of a network's values from some")
        total = len(images) if isinstance(images, list | tuple) else None
        self._images = track(chain([first], rest), "calibrating", total)

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._images, None)
        return None if images is None else {INPUT: np.ascontiguousarray(images)}


def calibration_images(data: StreetData, count: int) -> list[np.ndarray]:
    """Images of val as they are cached, at the size that the network was trained at, evenly spread over the split.

    Args:
        count: how many; all of a split that has fewer.

    Returns:
        uint8 (1, H, W, 3) each, RGB.

    Raises:
        UserError: `count` is below 1; val is empty, or none of it decodes.
    """
    if count < 1:
        raise UserError(f"calibration: found {count}, allowed is 1 or more images of val; 64 are usual")
    if not data.samples("val"):
        raise UserError(
            f"calibration: dataset {data.source.name} has no images in val, from which int8 takes the ranges of a "
            "network's values; choose a data set that has some with dataset=..., or precision=fp16"
        )
    data.open(("val",))
    available = len(data.samples("val"))
    rows = np.linspace(0, available - 1, min(count, available)).round().astype(int)
    return [data.cached_image("val", row)[None] for row in rows.tolist()]

"""Convolutions with TensorFlow's padding `SAME` as one operation of an exported graph.

timm pads an image by its size before each strided convolution of EfficientNet-Lite, MobileNetV3 and others that came
from TensorFlow. In a graph for images of any size each such size is a formula of the one before: with timm's formula
tracing comes to no end (EfficientNet-Lite0: not in 90 s of CPU time, now 2 s), and ONNX Runtime would not join padding
and convolution. ONNX has an attribute for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

_SCHEMA = "(Tensor x, Tensor weight, Tensor? bias, int[] stride, int[] dilation, int groups) -> Tensor"
Steps = Sequence[int]
"""Of rows and of columns."""


def conv2d_padded(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Steps, dilation: Steps, groups: int
) -> Tensor:
    """A convolution of (B, C, H, W) to ceil(H / stride) rows, padded by as many zeros as that takes.

    Of an odd number one more lies at the bottom and on the right, as TensorFlow has it. timm reckons the same in a
    longer way.
    """
    pads: list[int] = []
    for side, kernel, step, reach in zip(
        x.shape[:1:-1], weight.shape[:1:-1], stride[::-1], dilation[::-1], strict=True
    ):
        pad = reach * (kernel - 1) - (side - 1) % step
        pad = pad if reach * (kernel - 1) >= step - 1 else max(pad, 0)
        pads += [pad // 2, pad - pad // 2]
    return F.conv2d(F.pad(x, pads), weight, bias, stride, 0, dilation, groups)


conv2d_same = torch.library.custom_op("streetlab::conv2d_same", conv2d_padded, mutates_args=(), schema=_SCHEMA)
"""The same as one operation of a graph."""


@conv2d_same.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Steps, dilation: Steps, groups: int) -> Tensor:
    sides = [(side - 1) // step + 1 for side, step in zip(x.shape[-2:], stride, strict=True)]
    return x.new_empty(x.shape[0], weight.shape[0], *sides)


class _Traced(Conv2dSame):
    """timm's layer, traced as one of the two."""

    traced_as: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return super().forward(x)
        return self.traced_as(x, self.weight, self.bias, self.stride, self.dilation, self.groups)


class _AsOne(_Traced):
    traced_as = staticmethod(conv2d_same)


class _Padded(_Traced):
    traced_as = staticmethod(conv2d_padded)


def prepare_same_padding(network: nn.Module, as_one: bool) -> None:
    """Let each such layer of a network be traced in a way that comes to an end; what it computes stays the same.

    Args:
        as_one: as one operation, which `onnx_translations` translates; else as padding and a convolution, which
            PyTorch's own files hold and tracing takes longer for.
    """
    for layer in network.modules():
        if isinstance(layer, Conv2dSame):
            layer.__class__ = _AsOne if as_one else _Padded


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operation in ONNX, as `torch.onnx.export` takes it.

    Raises:
        ImportError: onnxscript is missing.
    """
    from onnxscript import opset18

    def translated(x: Any, weight: Any, bias: Any, stride: Any, dilation: Any, groups: Any) -> Any:
        inputs = (x, weight) if bias is None else (x, weight, bias)
        return opset18.Conv(
            *inputs, auto_pad="SAME_UPPER", strides=list(stride), dilations=list(dilation), group=groups
        )

    return {torch.ops.streetlab.conv2d_same.default: translated}

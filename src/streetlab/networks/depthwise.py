"""Backward pass of depthwise convolutions on CPUs under bf16 autocast, in float32 where that is faster.

oneDNN's bf16 kernels are slow for two gradients of depthwise convolutions: the one of the input with a stride above 1,
and the one of the weights of kernels larger than 3 x 3. On an AMD EPYC with AVX-512 bf16, one thread, channels last:

    channels, kernel, stride   of the input, bf16 / float32   of the weights, bf16 / float32
    144, 5 x 5, 2              62.6 / 2.4 ms                  91.0 / 14.8 ms
    672, 5 x 5, 1              1.5 / 1.5 ms                   58.7 / 9.2 ms
    1152, 3 x 3, 1             0.2 / 0.7 ms                   0.2 / 0.3 ms

Both add up in float32, and the gradients are rounded to bf16 again: they differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_T = TypeVar("_T")


class FastDepthwise(TorchFunctionMode):
    """Context of a forward pass whose depthwise convolutions get the faster of the two backward passes.

    Outside of bf16 autocast on the CPU, and without gradients, it changes nothing.
    """

    def __torch_function__(
        self, func: Callable[..., _T], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d and not kwargs and _in_bf16():
            options: list[Any] = [*args, *_DEFAULTS[len(args) - 2 :]]
            x, weight, bias, stride, padding, dilation, groups = options
            if not isinstance(padding, str) and _is_slow(x, weight, _pair(stride), groups):
                biased = None if bias is None else bias.bfloat16()
                around = _pair(stride), _pair(padding), _pair(dilation)
                return _Depthwise.apply(x.bfloat16(), weight.bfloat16(), biased, *around)
        return func(*args, **(kwargs or {}))


_DEFAULTS = (None, 1, 0, 1, 1)
"""Of `F.conv2d` after the input and the weights."""


def _in_bf16() -> bool:
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.is_grad_enabled()
    )


def _is_slow(x: Tensor, weight: Tensor, stride: Sequence[int], groups: int) -> bool:
    """Tell whether one of the two gradients is slow in bf16."""
    depthwise = x.ndim == 4 and x.device.type == "cpu" and 1 < groups == x.shape[1] == weight.shape[0]
    return depthwise and (max(stride) > 1 or max(weight.shape[-2:]) > 3)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution in bf16 with its backward pass in float32, image by image to stay in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options = stride, padding, dilation
        return F.conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (of_output,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        kernel, channels = weight.float(), x.shape[1]
        inputs = torch.empty_like(x) if of_x else None
        weights = torch.zeros_like(kernel) if of_weight else None
        biases = of_output.float().sum(dim=(0, 2, 3)).to(of_output.dtype) if of_bias else None
        for i in range(len(x) if of_x or of_weight else 0):
            images, kernels, _ = torch.ops.aten.convolution_backward(
                of_output[i : i + 1].float(), x[i : i + 1].float(), kernel, None, *ctx.options,
                False, [0, 0], channels, [of_x, of_weight, False],
            )  # fmt: skip
            if inputs is not None:
                inputs[i : i + 1] = images
            if weights is not None:
                weights += kernels
        return inputs, None if weights is None else weights.to(weight.dtype), biases, None, None, None


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)

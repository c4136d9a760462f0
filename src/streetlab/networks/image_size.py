"""Find the image sizes that a network accepts, without a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

from streetlab.errors import UserError, first_line

Size = tuple[int, int]
"""Height and width in pixels."""

_STEPS = (14, 32, 64, 224, 256)
"""Multiples that networks need sides to be of: patches, strides, windows of patches."""
_REFUSED = (AssertionError, IndexError, RuntimeError, ValueError)


def refusal(network: nn.Module, size: Size) -> str | None:
    """The reason in one line that a network rejects images of that size; None where it accepts them.

    Shapes alone go through it (PyTorch's meta device). Where that fails one blank image does, for a network may hold
    tensors that are neither parameters nor buffers. Its modes and tensors are left as they are.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with torch.no_grad():
            state = {
                name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())
            }
            try:
                torch.func.functional_call(network, state, (torch.zeros(1, 3, *size, device="meta"),))
                return None
            except Exception:  # also what only the meta device cannot do
                first = next(network.parameters(), torch.zeros(()))
                if first.is_meta:
                    raise
                network(torch.zeros(1, 3, *size, device=first.device, dtype=first.dtype))
        return None
    except _REFUSED as error:
        return first_line(error) or type(error).__name__
    finally:
        for module, training in modes:
            module.training = training


def check_image_size(network: nn.Module, size: Size, trained: Size | None = None) -> None:
    """Refuse a size that the network does not accept, before any photo is decoded.

    Args:
        trained: the size that it was trained at, where its weights are final.

    Raises:
        UserError: it does not take images of that size; sizes near it that it takes are named.
    """
    reason = refusal(network, size)
    if reason is None:
        return
    if trained is not None and trained != size:
        hint = f"it was trained at image_size={written(trained)}"
        if can_be_dynamic(network):
            hint += ", and +model.dynamic_img_size=true lets it take others"
    else:
        sizes = near_sizes(lambda other: refusal(network, other) is None, size, _built_for(network))
        hint = such_as(sizes)
        if _is_fixed(network):
            hint += f"; or build it for that size with +model.img_size={written(size)}"
    raise UserError(
        f"image_size={written(size)}: {type(network).__name__} takes no images of that size ({reason}); {hint}"
    )


def near_sizes(takes: Callable[[Size], bool], size: Size, usual: Size | None) -> list[Size]:
    """Up to two accepted sizes: the one nearest to `size` by its sides, and the usual one."""
    candidates = dict.fromkeys(_candidates(size))
    by_distance = sorted(candidates, key=lambda other: abs(math.log(other[0] * other[1] / (size[0] * size[1]))))
    nearest = next((other for other in by_distance if takes(other)), None)
    sizes = [nearest] if nearest is not None else []
    return sizes + ([usual] if usual is not None and usual not in sizes and takes(usual) else [])


def such_as(sizes: list[Size]) -> str:
    """`image_size=[64,64] fits`, for a message."""
    if not sizes:
        return "no size near it fits either"
    return " and ".join(f"image_size={written(size)}" for size in sizes) + (" fits" if len(sizes) == 1 else " fit")


def written(size: Size) -> str:
    """Format a size as a command line has it."""
    return f"[{size[0]},{size[1]}]"


def can_be_dynamic(network: nn.Module) -> bool:
    """Check that timm's `dynamic_img_size` would let a network of one size accept others."""
    return getattr(network, "dynamic_img_size", None) is False


def _candidates(size: Size) -> Iterator[Size]:
    for step in _STEPS:
        for rounded in (math.floor, math.ceil):
            height, width = (max(step, rounded(side / step) * step) for side in size)
            yield height, width
            yield max(height, width), max(height, width)


def _built_for(network: object) -> Size | None:
    """The size that a network of timm was built for, else the one its weights are from."""
    size = getattr(getattr(network, "patch_embed", None), "img_size", None)
    size = size or (getattr(network, "pretrained_cfg", None) or {}).get("input_size")
    return (int(size[-2]), int(size[-1])) if size else None


def _is_fixed(network: nn.Module) -> bool:
    """Check that timm says of it, or of a part of it, that `img_size` fixes its size."""
    configs = (getattr(module, "pretrained_cfg", None) for module in network.modules())
    return any(isinstance(config, dict) and config.get("fixed_input_size") for config in configs)

"""Choose the device and the precision of inference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from streetlab.errors import UserError, did_you_mean
from streetlab.training.memory import is_out_of_memory
from streetlab.training.precision import resolve_precision

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def choose_device(asked: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises:
        UserError: no such device, here or anywhere.
    """
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return torch.device("cuda" if here else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    named = re.fullmatch(r"cuda(?::(\d+))?", str(asked))
    if named is None:
        near = did_you_mean(str(asked), ("auto", "cpu", "cuda"))
        raise UserError(f"device: '{asked}' is not one of auto, cpu, cuda, cuda:0, cuda:1, ...{near}")
    if not here:
        raise UserError(f"device: '{asked}' but no CUDA device is visible; device=cpu predicts without")
    if int(named[1] or 0) >= here:
        raise UserError(f"device: '{asked}' but the last CUDA device here is cuda:{here - 1}")
    return torch.device(asked)


def choose_precision(asked: str, recorded: str | None, device: torch.device) -> str:
    """The precision to compute in: `auto` is what the training computed in, where this hardware has it.

    Args:
        recorded: of the training; `auto` where it is only known that it took what its hardware was good at.

    Raises:
        UserError: no such precision, or not on this device.
    """
    if asked not in PRECISIONS:
        near = did_you_mean(str(asked), PRECISIONS)
        raise UserError(f"precision: '{asked}' is not one of {', '.join(PRECISIONS)}{near}")
    if asked == "16-mixed" and device.type == "cpu":
        raise UserError("precision: '16-mixed' needs a GPU; precision=32-true computes on the CPU")
    if asked != "auto":
        return asked
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        fast = resolve_precision("auto", "gpu" if device.type == "cuda" else "cpu")
    if recorded == "auto":
        return fast
    had = {fast, "16-mixed"} if device.type == "cuda" else {fast}
    return recorded if recorded in had else "32-true"


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a network computes in one of `PRECISIONS`, as Lightning's own plugins enter it."""
    dtype = _DTYPES.get(precision)
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype, cache_enabled=False)


@contextmanager
def fitting(what: str, device: torch.device) -> Iterator[None]:
    """Too little memory inside the block is one line that names what did not fit.

    Raises:
        UserError: that line.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"batch_size: {what} do not fit into the memory of {device}; a smaller batch_size, or mode=window with "
            "large photos, needs less"
        ) from None

"""Detect out-of-memory errors, measure peak memory, and advise on smaller settings."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from streetlab.errors import UserError

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What torch says where it raises a plain RuntimeError for want of memory."""
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, of a GPU or of the process."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def kept_memory(accelerator: str) -> Iterator[None]:
    """Keep the memory that the block frees for its next activations, where it computes on the CPU under glibc.

    glibc gives blocks of megabytes back to the system and gets them again page by page, zeroed: on two cores of an AMD
    EPYC that was 5 to 16% of a training step of a segmentation network at 480x360. At the end it is given back.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" and accelerator == "cpu" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, 65536)  # glibc's own
        libc.mallopt(_M_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)


def peak_memory(device: torch.device) -> str:
    """The most memory that was in use: of the GPU and of how much, or of this process."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} of the GPU's {total / 1e9:.1f} GB"
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kilobytes on Linux
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB of this process"


def no_room(batch_size: int, trainer: Mapping[str, Any], asked: object, device: torch.device) -> UserError:
    """The error of a training step that does not fit the memory: its peak, and smaller settings.

    Args:
        trainer: the config's node.
        requested: `batch_size` as it was written.
    """
    advice = []
    if batch_size > 1:
        accumulated = int(trainer.get("accumulate_grad_batches", 1)) * 2
        advice.append(f"batch_size={batch_size // 2} trainer.accumulate_grad_batches={accumulated} learns the same")
        if asked != "auto":
            advice.append("batch_size=auto finds what fits")
    if not trainer.get("checkpointing", False):
        advice.append("trainer.checkpointing=true computes activations again instead of keeping them")
    hint = "; ".join(advice) or "a smaller image_size or model needs less"
    return UserError(
        f"batch_size: a training step of {batch_size} image{'s' * (batch_size != 1)} does not fit the memory (peak "
        f"{peak_memory(device)}): {hint}"
    )

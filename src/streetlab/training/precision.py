"""Choose accelerator and precision by the hardware, without Lightning, whose import takes a second or two."""

from __future__ import annotations

from pathlib import Path

import torch

from streetlab.errors import UserError, did_you_mean

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")


def resolve_accelerator(accelerator: str) -> str:
    """`auto` becomes `gpu` or `cpu`.

    Raises:
        UserError: there is no such accelerator, or a GPU is asked for and none is there.
    """
    if accelerator not in ACCELERATORS:
        near = did_you_mean(accelerator, ACCELERATORS)
        raise UserError(f"trainer.accelerator: '{accelerator}' is not one of {', '.join(ACCELERATORS)}{near}")
    here = "gpu" if torch.cuda.is_available() else "cpu"
    if accelerator == "auto":
        return here
    if accelerator in ("gpu", "cuda") and here == "cpu":
        raise UserError(
            f"trainer.accelerator: '{accelerator}' but no CUDA device is visible; trainer=cpu trains without"
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.accelerator: 'mps' but this is no Mac with a GPU; trainer=cpu trains without")
    return accelerator


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` becomes bf16 where the hardware computes in it: Ampere and later, CPUs with AVX-512 bf16 or AMX.

    On a Mac's GPU it becomes float32.
    """
    if precision not in PRECISIONS:
        near = did_you_mean(precision, PRECISIONS)
        raise UserError(f"trainer.precision: '{precision}' is not one of {', '.join(PRECISIONS)}{near}")
    if precision != "auto":
        return precision
    if accelerator == "mps":
        return "32-true"
    if accelerator == "cpu":
        return "bf16-mixed" if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_bf16() else "32-true"
    return "bf16-mixed" if torch.cuda.get_device_capability()[0] >= 8 else "16-mixed"


def _cpu_has_bf16() -> bool:
    """Tell whether this CPU has bf16 instructions; emulated bf16 is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

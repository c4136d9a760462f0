"""Build the Lightning Trainer, with settings that suit the hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from streetlab.errors import UserError, did_you_mean
from streetlab.lightning_compat import leave_signals_alone
from streetlab.training.compile_callback import AUTO, check_compile
from streetlab.training.rendezvous import environment

ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
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
    return accelerator


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` becomes bf16 where the hardware computes in it: Ampere and later, CPUs with AVX-512 bf16 or AMX."""
    if precision not in PRECISIONS:
        near = did_you_mean(precision, PRECISIONS)
        raise UserError(f"trainer.precision: '{precision}' is not one of {', '.join(PRECISIONS)}{near}")
    if precision != "auto":
        return precision
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


def build_trainer(
    accelerator: str = "auto",
    precision: str = "auto",
    channels_last: bool = True,
    compile: str | bool = AUTO,
    checkpointing: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    loggers: Sequence[Logger] = (),
    root: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    """A Trainer that streetlab's own callbacks drive: no bar, summary, sampler or sanity check of its own.

    Args:
        accelerator: auto, cpu, gpu.
        precision: auto, or one of Lightning's.
        channels_last: memory order of the network's weights (set on the network by whoever builds it).
        compile: auto, true or false, see `streetlab.training.compile_callback` (done by whoever trains).
        checkpointing: activations are computed again instead of kept (set on the network by whoever builds it).
        callbacks, loggers: all of them.
        root: the run's folder.
        options: further arguments of `pytorch_lightning.Trainer`.
    """
    check_compile(compile)
    accelerator = resolve_accelerator(accelerator)
    trainer = pl.Trainer(
        accelerator=accelerator,
        precision=resolve_precision(precision, accelerator),  # type: ignore[arg-type]
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        default_root_dir=root,
        plugins=environment(),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the batches know their rank
        **options,
    )
    leave_signals_alone(trainer)
    return trainer

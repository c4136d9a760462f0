"""Build the Lightning Trainer, with settings that suit the hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from streetlab.checkpoints.write import WholeFiles
from streetlab.lightning_compat import leave_signals_alone
from streetlab.training.compile_callback import AUTO, check_compile
from streetlab.training.precision import resolve_accelerator, resolve_precision
from streetlab.training.rendezvous import environment


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
    environment_of_processes = environment()
    trainer = pl.Trainer(
        accelerator=accelerator,
        precision=resolve_precision(precision, accelerator),  # type: ignore[arg-type]
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        default_root_dir=root,
        plugins=[WholeFiles(), *([environment_of_processes] if environment_of_processes else [])],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the batches know their rank
        **options,
    )
    leave_signals_alone(trainer)
    return trainer

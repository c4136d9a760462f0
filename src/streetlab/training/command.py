"""The train command as long as nothing heavy is imported: a run that is complete is skipped at once."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.config import plain
from streetlab.filenames import one_line
from streetlab.place import place
from streetlab.runs.opening import completed_record
from streetlab.runs.teaching import teaching_run


def run(cfg: DictConfig) -> float | None:
    """Entry point of the command; `cfg` is conf/train.yaml composed.

    Returns:
        the objective of the best epoch on val, also of a completed run that is skipped: what a search goes by.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if cfg.teacher:
        teaching_run(cfg.teacher, folder)  # a fault there is said before a record is made
    done = completed_record(folder, plain(cfg), cfg.resume)
    if done is not None:
        if place().rank == 0:
            print(one_line(f"already completed, skipped: {folder} (resume=never trains anew)"))
        return done.metrics["objective"]["best"]

    from streetlab.training.train import run as train

    return train(cfg)

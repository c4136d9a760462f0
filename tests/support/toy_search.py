"""A job in place of the train command: keeps a record, and its objective is best at a learning rate of 0.001."""

from __future__ import annotations

import errno
import math
import os
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.records.record import RunRecord


def run(cfg: DictConfig) -> float:
    """Fails at `seed=13` with strong augmentation; from the third record on, waits while there is a file `hold`.

    The disk is full while there is a file `full`.
    """
    record = RunRecord(HydraConfig.get().runtime.output_dir)
    with (record.path / "attempts").open("a") as file:
        file.write("started\n")
    while Path("hold").exists() and len(list(record.path.parent.glob("*/attempts"))) > 2:
        time.sleep(0.05)
    if Path("full").exists():
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  (as PyTorch does)
    if cfg.seed == 13 and cfg.augment.get("erase"):
        raise RuntimeError("thirteen is not for us")
    objective = -abs(math.log10(cfg.optimizer.lr) + 3)
    record.write_metrics({"objective": {"best": objective}})
    return objective

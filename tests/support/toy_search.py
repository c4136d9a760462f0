"""A job in place of the train command: keeps a record, and its objective is best at a learning rate of 0.001."""

from __future__ import annotations

import math
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.records.record import RunRecord


def run(cfg: DictConfig) -> float:
    """Fails at `seed=13` with strong augmentation; from the third record on, waits while there is a file `hold`."""
    record = RunRecord(HydraConfig.get().runtime.output_dir)
    with (record.path / "attempts").open("a") as file:
        file.write("started\n")
    while Path("hold").exists() and len(list(record.path.parent.glob("*/attempts"))) > 2:
        time.sleep(0.05)
    if cfg.seed == 13 and cfg.augment.get("erase"):
        raise RuntimeError("thirteen is not for us")
    objective = -abs(math.log10(cfg.optimizer.lr) + 3)
    record.write_metrics({"objective": {"best": objective}})
    return objective

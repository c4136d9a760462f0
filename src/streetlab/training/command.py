"""The light part of the train command, without torch: a complete run is skipped at once."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from streetlab.config import instantiate, of_kind, plain
from streetlab.config.resolvers import is_told_apart_by_name
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.io.filenames import one_line
from streetlab.process_rank import process_rank
from streetlab.records.identity import identify
from streetlab.records.locate import locate_teacher
from streetlab.records.record import RunRecord
from streetlab.records.resume import choose_folder, completed_record
from streetlab.sweeps.pruning import PRUNED
from streetlab.training.run_log import run_log

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A completed run, or one that its search has pruned.

    Attributes:
        record: the run's.
        metrics: what its metrics.json holds; nothing in processes other than the first, unless it was skipped, and
            nothing of a pruned run.
        skipped: it was complete already.
    """

    record: RunRecord
    metrics: dict[str, Any]
    skipped: bool


def run(cfg: DictConfig) -> float | str | None:
    """Entry point of the command; `cfg` is conf/train.yaml composed.

    Returns:
        the objective of the best epoch on val, also of a completed run that is skipped: what a search goes by; or
        that its search has pruned it.
    """
    result = perform(cfg)
    metrics = result.metrics
    if not metrics:
        return PRUNED if process_rank().rank == 0 else None
    if result.skipped:
        if process_rank().rank == 0:
            print(one_line(f"already completed, skipped: {result.record.path} (resume=never trains anew)"))
    else:
        from streetlab.training.terminal import print_summary

        title = f"best epoch {metrics['best_epoch']}, by val {metrics['objective']['metric']}"
        print_summary(result.record, metrics, title)
    return metrics["objective"]["best"]


def perform(cfg: DictConfig) -> TrainResult:
    """Train the run that the config asks for, or find its completed record."""
    hydra = HydraConfig.get()
    folder, config = Path(hydra.runtime.output_dir), plain(cfg)
    if cfg.teacher:
        locate_teacher(cfg.teacher, folder)  # a fault there is said before a record is made
    if not (folder / "config.yaml").exists():
        from streetlab.training.train import check

        check(cfg)  # before photos are read; a run that may be there to be skipped was checked once
    with run_log() as log:
        source: DataSource = of_kind(instantiate(cfg.dataset), DataSource, cfg.dataset, "dataset")
        identity = identify(config, source)
        named = not cfg.output or hydra.mode == RunMode.MULTIRUN
        chosen = choose_folder(folder, identity, cfg.resume, named, search=not is_told_apart_by_name())
        if chosen != folder:
            if (folder / "config.yaml").exists():
                logger.info("%s is of other photos or weights: %s", folder, identity.difference(RunRecord(folder)))
            with suppress(OSError):
                folder.rmdir()  # Hydra made it; it is left only where something is in it
            folder = chosen
        done = completed_record(folder, cfg.resume)
        if done is None:
            from streetlab.training.train import run as train  # takes seconds, in which another process may end

            done = completed_record(folder, cfg.resume)
        if done is not None:
            if process_rank().rank == 0 and _is_whole(done.checkpoints / "last.ckpt"):
                _retire(done)
            return TrainResult(done, done.metrics, skipped=True)
        return TrainResult(*train(cfg, folder, source, identity, log), skipped=False)


def _retire(record: RunRecord) -> None:
    """Strip the last checkpoint, where a kill came between the end of training and that."""
    from streetlab.checkpoints.write import retire
    from streetlab.records.lock import sole_writer

    with suppress(UserError), sole_writer(record.path):  # else it is stripped now
        retire(record.checkpoints)


def _is_whole(checkpoint: Path) -> bool:
    """Check, without torch, that a checkpoint still holds what resuming needs."""
    with suppress(OSError, BadZipFile, StopIteration), ZipFile(checkpoint) as parts:
        pickled = next(name for name in parts.namelist() if name.endswith("/data.pkl"))
        return b"optimizer_states" in parts.read(pickled)
    return False

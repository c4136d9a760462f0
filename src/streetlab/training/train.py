"""`streetlab train`: one run from its config to a complete record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.checkpoints.read import read_resumable
from streetlab.config import bind, instantiate, of_kind
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.records.identity import Identity
from streetlab.records.record import RunRecord
from streetlab.records.resume import opened_record
from streetlab.sweeps.pruning import may_be_pruned
from streetlab.training.batch_size import AUTO, AutoBatchSize
from streetlab.training.build import Experiment, build_callbacks, build_experiment, build_loggers, loading_numbers
from streetlab.training.evaluate_splits import evaluate_best
from streetlab.training.loggers import RecordLogger
from streetlab.training.memory import is_out_of_memory, kept_memory, no_room
from streetlab.training.precision import resolve_accelerator
from streetlab.training.prune_callback import PruneCallback
from streetlab.training.rendezvous import check_size, decide_once, is_first
from streetlab.training.resuming import Start, find_start, take_over
from streetlab.training.run_log import RunLog
from streetlab.training.session import RunSession
from streetlab.training.teacher import Teacher, teach
from streetlab.training.terminal import quiet_lightning
from streetlab.training.wandb_results import log_results

log = logging.getLogger(__name__)

_LARGEST_SEED = 2**32 - 1
"""Of NumPy's generators."""


def run(
    cfg: DictConfig, folder: Path, source: DataSource, identity: Identity, run_log: RunLog
) -> tuple[RunRecord, dict[str, Any]]:
    """Train the run that `cfg`, conf/train.yaml composed, asks for, and complete its record.

    Args:
        folder: where its record goes.
        source: its data set.
        identity: what tells it from other runs.
        run_log: what it has said so far.

    Returns:
        the record, and what its metrics.json holds: nothing in processes other than the first, or of a pruned run.
    """
    check(cfg)
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group and name}
    metrics: dict[str, Any] = {}
    with ExitStack() as opened:
        record, checkpoint = decide_once(lambda: opened.enter_context(opened_record(folder, identity, cfg.resume)))
        session = RunSession(record, checkpoint, identity, run_log, list(HydraConfig.get().overrides.task), choices)
        with session.running(), kept_memory(resolve_accelerator(cfg.trainer.accelerator)):
            metrics = train(cfg, session, source)
    return record, metrics


def check(cfg: DictConfig) -> None:
    """Raise a UserError where the config cannot be trained, whatever the data are."""
    if not 0 <= cfg.seed <= _LARGEST_SEED:
        raise UserError(f"seed: {cfg.seed} is not a whole number from 0 to {_LARGEST_SEED}")
    bind(cfg, RUNTIME_ARGS)
    check_size(cfg.trainer)
    loading_numbers(cfg)


def train(cfg: DictConfig, session: RunSession, source: DataSource) -> dict[str, Any]:
    """Build, train all phases, test the best epoch. Returns what metrics.json holds."""
    record = session.record
    experiment = build_experiment(cfg, session.config, source)
    searches = [AutoBatchSize(experiment.regime, record, cfg.trainer)] if cfg.batch_size == AUTO else []
    pruning = [PruneCallback(record)] if may_be_pruned() else []
    start = _find_start(session, experiment, searches)
    teacher = teach(cfg, experiment)
    experiment.data.setup()
    if is_first():
        _record_start(session, experiment, start, teacher)
    record_logger = RecordLogger(record, lambda: experiment.regime.phase.name, start.epochs if start else 0)
    report = getattr(experiment.task.network, "load_report", None)
    if report is not None:
        log.info("%s", report.summary())
    with quiet_lightning():
        made = instantiate(
            cfg.trainer,
            callbacks=build_callbacks(cfg, experiment, record.checkpoints, [*searches, *pruning]),
            loggers=build_loggers(cfg, record_logger),
            root=record.path,
        )
        trainer: pl.Trainer = of_kind(made, pl.Trainer, cfg.trainer, "trainer")
        try:
            experiment.regime.fit(trainer, experiment.task, experiment.data, start.resumed if start else None)
            record_logger.enabled = False
            metrics = evaluate_best(trainer, experiment, record, experiment.regime.timeline())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = experiment.data.batch_size
            raise no_room(size, cfg.trainer, cfg.batch_size, trainer.strategy.root_device) from None
        log_results(trainer, experiment, record)
    return metrics


def _find_start(session: RunSession, experiment: Experiment, searches: Sequence[AutoBatchSize]) -> Start | None:
    """Read where the session's checkpoint goes on from; None where it begins anew."""
    if session.checkpoint is None:
        return None
    checkpoint = read_resumable(session.checkpoint, experiment.source.label_space)
    start = find_start(session.checkpoint, checkpoint, session.config, experiment.regime, session.record)
    for search in searches:
        search.take_up(checkpoint)
    return start


def _record_start(session: RunSession, experiment: Experiment, start: Start | None, teacher: Teacher | None) -> None:
    """Write into the record the photos that are trained on, the teacher, and what is taken over from before.

    Raises:
        UserError: a run that goes on began with other photos.
    """
    record = session.record
    split = experiment.source.split_record(experiment.data.samples)
    before = record.status.get("split_hash")
    if start is not None and before not in (None, split["split_hash"]):
        raise UserError(
            f"{record.path} cannot be resumed: other photos decode (split hash {before} then, {split['split_hash']} "
            "now); resume=never trains anew"
        )
    record.write_status(**split)
    if teacher is not None:
        record.write_status(teacher=teacher.about())
    if start is not None:
        take_over(start, record)
    elif "resumed_from" in record.known_status:
        record.write_status(resumed_from=None)  # it begins anew, from nothing


RUNTIME_ARGS = {
    "task": ["network", "label_space", "loss", "metadata", "added"],
    "model": ["num_classes"],
    "loss*": ["num_classes", "ignore_index"],
    "metrics.*": ["num_classes", "ignore_index"],
    "regime": ["optimizer", "scheduler", "seed"],
    "trainer": ["callbacks", "loggers", "root"],
    "logger.tensorboard": ["record_logger"],
    "logger.wandb": ["record_logger"],
}
"""What the program adds to the config's own words when it instantiates a node."""

"""`streetlab train`: one run from its config to a complete record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.checkpoints.read import read_resumable
from streetlab.checkpoints.write import retire
from streetlab.config import bind, instantiate
from streetlab.config.run_names import config_hash
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.records.identity import Identity
from streetlab.records.record import RunRecord, now
from streetlab.records.resume import open_record
from streetlab.training import loggers
from streetlab.training.batch_size import AUTO, AutoBatchSize
from streetlab.training.build import build_callbacks, build_experiment, build_loggers, loading_numbers
from streetlab.training.evaluate_splits import evaluate_best
from streetlab.training.interruption import ends_as_ctrl_c, waits_for_the_first
from streetlab.training.memory import is_out_of_memory, no_room
from streetlab.training.provenance import provenance
from streetlab.training.rendezvous import agree, check_size, followed, is_first
from streetlab.training.resuming import find_start, take_over
from streetlab.training.run_log import RunLog
from streetlab.training.teacher import teach
from streetlab.training.terminal import print_summary, quiet_lightning
from streetlab.training.wandb_logger import one_run
from streetlab.training.wandb_results import log_results

log = logging.getLogger(__name__)

Work = Callable[[DictConfig, dict[str, Any], RunRecord, Path | None], dict[str, Any]]
"""What `train` is: from a run's config, the same in plain Python, its record and a checkpoint to its metrics."""


def run(cfg: DictConfig, folder: Path, source: DataSource, identity: Identity, run_log: RunLog) -> float | None:
    """Train the run that `cfg`, conf/train.yaml composed, asks for, and complete its record.

    Args:
        folder: where its record goes.
        source: its data set.
        identity: what tells it from other runs.
        run_log: what it has said so far.

    Returns:
        the objective of the best epoch on val; nothing in processes other than the first.
    """
    check(cfg)
    record, resume = agree(lambda: open_record(folder, identity, cfg.resume))
    work = partial(train, source=source)
    if not is_first():
        with waits_for_the_first():
            work(cfg, dict(identity.config), record, resume)
        return None
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group and name}
    words = list(HydraConfig.get().overrides.task)
    metrics = complete(cfg, identity, record, resume, words, choices, run_log, work)
    if metrics:
        print_summary(record, metrics, f"best epoch {metrics['best_epoch']}, by val {metrics['objective']['metric']}")
    return metrics["objective"]["best"] if metrics else None


def check(cfg: DictConfig) -> None:
    """Raise a UserError where the config cannot be trained, whatever the data are."""
    bind(cfg, GIVEN)
    check_size(cfg.trainer)
    loading_numbers(cfg)


def complete(
    cfg: DictConfig,
    identity: Identity,
    record: RunRecord,
    resume: Path | None,
    words: Sequence[str],
    choices: Mapping[str, str],
    run_log: RunLog,
    work: Work,
) -> dict[str, Any]:
    """Train into a record that was opened, and write into it how that ended.

    Args:
        cfg: the run's config.
        identity: what tells the run from others.
        resume: the checkpoint to go on from.
        words: how the run was asked for.
        choices: from the config groups.
        run_log: what is said, which goes to train.log.
        work: what trains; `train`, or what stands in its place.

    Returns:
        what metrics.json holds.
    """
    began = time.perf_counter()
    config = dict(identity.config)
    record.write_config(config, words)
    record.write_status(
        state="running", started=now(), ended=None, error=None, traceback=None, config_hash=config_hash(config),
        choices=choices, contents=identity.contents, working_directory=str(Path.cwd()), **provenance(),
    )  # fmt: skip
    record.write_photos(identity.photos)
    run_log.write_to(record.path / "train.log")
    with followed((record, resume)), ends_as_ctrl_c(), one_run(record):
        try:
            metrics = work(cfg, config, record, resume)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                record.write_end("interrupted", "the same command goes on from the last complete epoch")
                log.error("interrupted")
            else:
                # as text: a handler that keeps log entries would keep the error's frames, and with them the network
                log.error("failed: %s", record.write_end("failed", error)["traceback"] or error)
            raise
        record.write_end("completed", seconds=round(time.perf_counter() - began, 3))
        retire(record.checkpoints)
    return metrics


def train(
    cfg: DictConfig, config: dict[str, Any], record: RunRecord, resume: Path | None, source: DataSource
) -> dict[str, Any]:
    """Build, train all phases, test the best epoch. Returns what metrics.json holds."""
    experiment = build_experiment(cfg, config, source)
    searches = [AutoBatchSize(experiment.regime, record, cfg.trainer)] if cfg.batch_size == AUTO else []
    start = None
    if resume:
        checkpoint = read_resumable(resume, experiment.source.label_space)
        start = find_start(resume, checkpoint, config, experiment.regime, record)
        for search in searches:
            search.take_up(checkpoint)
        del checkpoint
    teacher = teach(cfg, experiment)
    experiment.data.setup()
    if is_first():
        split = experiment.source.split_record(experiment.data.samples)
        if resume and record.status.get("split_hash") not in (None, split["split_hash"]):
            raise UserError(
                f"{record.path} cannot be resumed: other photos decode (split hash {record.status['split_hash']} then, "
                f"{split['split_hash']} now); resume=never trains anew"
            )
        record.write_status(**split)
        if teacher is not None:
            record.write_status(teacher=teacher.about())
    if start is not None and is_first():
        take_over(start, record)
    elif is_first() and "resumed_from" in record.known_status:
        record.write_status(resumed_from=None)  # it begins anew, from nothing
    record_logger = loggers.RecordLogger(
        record, lambda: experiment.regime.phase.name, start.epochs if start is not None else 0
    )
    report = getattr(experiment.task.network, "load_report", None)
    if report is not None:
        log.info("%s", report.summary())
    with quiet_lightning():
        trainer = instantiate(
            cfg.trainer,
            callbacks=build_callbacks(cfg, experiment, record.checkpoints, searches),
            loggers=build_loggers(cfg, record_logger),
            root=record.path,
        )
        try:
            experiment.regime.fit(trainer, experiment.task, experiment.data, start.resumed if start else None)
            record_logger.enabled = False
            metrics = evaluate_best(trainer, experiment, record, experiment.regime.timeline())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = experiment.data.batch_size
            raise no_room(size, cfg.trainer, cfg.batch_size, trainer.strategy.root_device) from None
        except SystemExit:  # Lightning's way to leave after Ctrl-C
            raise KeyboardInterrupt from None
        log_results(trainer, experiment, record)
        return metrics


GIVEN = {
    "task": ["network", "label_space", "loss", "card"],
    "model": ["num_classes"],
    "regime": ["optimizer", "scheduler", "seed"],
    "trainer": ["callbacks", "loggers", "root"],
    "logger.tensorboard": ["record_logger"],
    "logger.wandb": ["record_logger"],
}
"""What the program adds to the config's own words when it instantiates a node."""

"""`streetlab train`: one run from its config to a complete record."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from streetlab.config import bind, instantiate, plain
from streetlab.progress import LineFormatter
from streetlab.runs.naming import config_hash
from streetlab.runs.opening import open_record
from streetlab.runs.record import RunRecord, now
from streetlab.training import loggers
from streetlab.training.agreement import agree, check_size, followed, is_first
from streetlab.training.batch_size import AUTO, AutoBatchSize
from streetlab.training.build import build_callbacks, build_experiment, build_loggers
from streetlab.training.checkpoints import epochs_behind, read_resumable, retire
from streetlab.training.evaluation import evaluate_best
from streetlab.training.interruption import ends_as_ctrl_c, waits_for_the_first
from streetlab.training.memory import is_out_of_memory, no_room
from streetlab.training.provenance import provenance
from streetlab.training.teacher import teach
from streetlab.training.terminal import print_summary, quiet_lightning
from streetlab.training.wandb_logger import one_run
from streetlab.training.wandb_results import log_results

log = logging.getLogger(__name__)

Work = Callable[[DictConfig, dict[str, Any], RunRecord, Path | None], dict[str, Any]]
"""What `train` is: from a run's config, the same in plain Python, its record and a checkpoint to its metrics."""


def run(cfg: DictConfig) -> float | None:
    """Train the run that `cfg`, conf/train.yaml composed, asks for, and complete its record.

    Returns:
        the objective of the best epoch on val; nothing in processes other than the first.
    """
    bind(cfg, GIVEN)
    config = plain(cfg)
    check_size(cfg.trainer)
    folder = Path(HydraConfig.get().runtime.output_dir)
    record, resume = agree(lambda: open_record(folder, config, cfg.resume))
    if not is_first():
        with waits_for_the_first():
            train(cfg, config, record, resume)
        return None
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group and name}
    metrics = complete(cfg, config, record, resume, list(HydraConfig.get().overrides.task), choices)
    if metrics:
        print_summary(record, metrics, f"best epoch {metrics['best_epoch']}, by val {metrics['objective']['metric']}")
    return metrics["objective"]["best"] if metrics else None


def complete(
    cfg: DictConfig,
    config: dict[str, Any],
    record: RunRecord,
    resume: Path | None,
    words: Sequence[str],
    choices: Mapping[str, str],
    work: Work | None = None,
) -> dict[str, Any]:
    """Train into a record that was opened, and write into it how that ended.

    Args:
        cfg: the run's config.
        config: the same, resolved to plain Python.
        resume: the checkpoint to go on from.
        words: how the run was asked for.
        choices: from the config groups.
        work: instead of `train`.

    Returns:
        what metrics.json holds.
    """
    began = time.perf_counter()
    record.write_config(config, words)
    record.write_status(
        state="running", started=now(), ended=None, error=None, traceback=None, config_hash=config_hash(config),
        choices=choices, **provenance(),
    )  # fmt: skip
    with followed((record, resume)), _log_file(record.path / "train.log"), ends_as_ctrl_c(), one_run(record):
        try:
            metrics = (work or train)(cfg, config, record, resume)
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


def train(cfg: DictConfig, config: dict[str, Any], record: RunRecord, resume: Path | None) -> dict[str, Any]:
    """Build, train all phases, test the best epoch. Returns what metrics.json holds."""
    experiment = build_experiment(cfg, config)
    teacher = teach(cfg, experiment)
    experiment.data.setup()
    if is_first():
        record.write_status(**experiment.source.split_record(experiment.data.samples))
        if teacher is not None:
            record.write_status(teacher=teacher.about())
    searches = [AutoBatchSize(experiment.regime, record, cfg.trainer)] if cfg.batch_size == AUTO else []
    keep_epochs, resumed_phase = 0, None
    if resume:
        checkpoint = read_resumable(resume, experiment.source.label_space)
        keep_epochs, resumed_phase = epochs_behind(checkpoint), experiment.regime.phase_of(checkpoint)
        for search in searches:
            search.take_up(checkpoint)
        del checkpoint
    record_logger = loggers.RecordLogger(record, lambda: experiment.regime.phase.name, keep_epochs)
    report = getattr(experiment.task.network, "load_report", None)
    if report is not None:
        log.info("%s", report.summary())
    if resume:
        log.info("resuming after epoch %d", keep_epochs)
    with quiet_lightning():
        trainer = instantiate(
            cfg.trainer,
            callbacks=build_callbacks(cfg, experiment, record.checkpoints, searches),
            loggers=build_loggers(cfg, record_logger),
            root=record.path,
        )
        try:
            experiment.regime.fit(trainer, experiment.task, experiment.data, resume, resumed_phase)
            record_logger.enabled = False
            metrics = evaluate_best(trainer, experiment, record)
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


class _ToTerminal(logging.StreamHandler):
    """Writes to whatever stderr is at the moment: a rich bar takes it over to keep lines above itself."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send streetlab's log to the terminal and to the run's train.log while the run lasts."""
    logger = logging.getLogger("streetlab")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    to_file, to_terminal = logging.FileHandler(path, encoding="utf-8"), _ToTerminal()
    to_file.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    to_terminal.setFormatter(LineFormatter("%(message)s"))
    to_terminal.addFilter(lambda entry: entry.levelno < logging.ERROR)  # errors reach the terminal as one line
    handlers = (to_file, to_terminal)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()

"""`streetlab train`: one run from its config to a complete record."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from streetlab.config import bind, instantiate, plain
from streetlab.errors import UserError
from streetlab.runs.naming import config_hash
from streetlab.runs.record import RunRecord
from streetlab.training import loggers
from streetlab.training.build import build_callbacks, build_experiment, build_loggers
from streetlab.training.checkpoints import epochs_behind, read_resumable, retire
from streetlab.training.evaluation import REPORTS, evaluate_best
from streetlab.training.provenance import provenance

log = logging.getLogger(__name__)

_FOLLOW = "STREETLAB_FOLLOW"
"""Tells the further processes of a DDP run, which Lightning starts with the same command line, which record and
checkpoint the first one chose. They train along and write nothing."""


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/train.yaml composed."""
    bind(cfg, GIVEN)
    config = plain(cfg)
    if _FOLLOW in os.environ and not _is_first_process():
        folder, checkpoint = json.loads(os.environ[_FOLLOW])
        train(cfg, config, RunRecord(folder), checkpoint and Path(checkpoint))
        return
    record, resume = open_record(Path(HydraConfig.get().runtime.output_dir), config, cfg.resume)
    if record is None:
        return
    record.write_config(config, list(HydraConfig.get().overrides.task))
    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if "/" not in group and name}
    record.write_status(
        state="running", started=_now(), ended=None, error=None, config_hash=config_hash(config), choices=choices,
        **provenance(),
    )  # fmt: skip
    os.environ[_FOLLOW] = json.dumps([str(record.path.resolve()), resume and str(resume.resolve())])
    with _log_file(record.path / "train.log"), _sigterm_as_interrupt():
        try:
            metrics = train(cfg, config, record, resume)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            state = "interrupted" if interrupted else "failed"
            text = "interrupted; the same command goes on from the last complete epoch" if interrupted else str(error)
            record.write_status(state=state, ended=_now(), error=text)
            log.error("%s: %s", state, text, exc_info=not isinstance(error, UserError | KeyboardInterrupt))
            loggers.finish(failed=True)
            raise
        finally:
            del os.environ[_FOLLOW]
        record.write_status(state="completed", ended=_now())
        retire(record.checkpoints)
    loggers.finish(failed=False)
    if metrics:
        _print_summary(record, metrics)


def train(cfg: DictConfig, config: dict[str, Any], record: RunRecord, resume: Path | None) -> dict[str, Any]:
    """Build, train all phases, test the best epoch. Returns what metrics.json holds."""
    experiment = build_experiment(cfg, config)
    experiment.data.setup()
    if _is_first_process():
        record.write_status(split_hash=experiment.source.split_hash(experiment.data.samples))
    keep_epochs, resumed_phase = 0, None
    if resume:
        checkpoint = read_resumable(resume, experiment.source.label_space)
        keep_epochs, resumed_phase = epochs_behind(checkpoint), experiment.regime.phase_of(checkpoint)
        del checkpoint
    record_logger = loggers.RecordLogger(record, lambda: experiment.regime.phase.name, keep_epochs)
    report = getattr(experiment.task.network, "load_report", None)
    if report is not None:
        log.info("%s", report.summary())
    if resume:
        log.info("resuming after epoch %d", keep_epochs)
    with _quiet_lightning():
        trainer = instantiate(
            cfg.trainer,
            callbacks=build_callbacks(cfg, experiment, record.checkpoints),
            loggers=build_loggers(cfg, record, record_logger),
            root=record.path,
        )
        try:
            experiment.regime.fit(trainer, experiment.task, experiment.data, resume, resumed_phase)
        except SystemExit:  # Lightning's way to leave after Ctrl-C
            raise KeyboardInterrupt from None
        record_logger.enabled = False
        return evaluate_best(trainer, experiment, record)


def open_record(folder: Path, config: dict[str, Any], resume: str) -> tuple[RunRecord | None, Path | None]:
    """The record to write to and the checkpoint to go on from; no record where there is nothing to do.

    Args:
        folder: where the run belongs by its name.
        resume: auto, never, or a checkpoint's path.

    Raises:
        UserError: the folder holds another config's record, or is not writable.
    """
    if resume == "never":
        number = 2
        fresh = folder
        while fresh.exists() and any(fresh.iterdir()):
            fresh = folder.with_name(f"{folder.name}-{number}")
            number += 1
        folder = fresh
    checkpoint = None if resume in ("auto", "never") else Path(resume).expanduser()
    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f"resume: no checkpoint {checkpoint} (allowed: auto, never, or a file)")
    record = RunRecord(folder)
    if (folder / "config.yaml").exists() and resume != "never":
        if config_hash(record.config) != config_hash(config):
            raise UserError(f"{folder} holds the record of another config; give another with output=DIR")
        if record.state == "completed":
            if checkpoint is not None:
                raise UserError(f"resume: {folder} holds a completed run; give another folder with output=DIR")
            print(f"already completed, skipped: {folder} (resume=never trains anew)")
            return None, None
        _refuse_if_alive(record)
        last = record.checkpoints / "last.ckpt"
        if checkpoint is None and last.exists():
            checkpoint = last
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no run record; give another with output=DIR")
    try:
        record.checkpoints.mkdir(parents=True, exist_ok=True)
        record.figures.mkdir(exist_ok=True)
        (folder / "train.log").touch()
    except OSError as error:
        raise UserError(f"output: cannot write to {folder} ({error.strerror}); give another with output=DIR") from None
    return record, checkpoint


def _refuse_if_alive(record: RunRecord) -> None:
    """A record that another process of this machine is writing right now is not for us."""
    status = record.status
    process = status.get("process")
    if status.get("state") != "running" or status.get("host") != socket.gethostname() or not process:
        return
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return  # it was killed: its record is there to be resumed
    except PermissionError:
        pass
    if process != os.getpid():
        raise UserError(f"{record.path} is being written by process {process}; wait for it or give output=DIR")


GIVEN = {
    "task": ["network", "label_space", "loss", "card"],
    "model": ["num_classes"],
    "regime": ["optimizer", "scheduler", "seed"],
    "trainer": ["callbacks", "loggers", "root"],
    "logger.tensorboard": ["record"],
    "logger.wandb": ["record"],
}
"""What the program adds to the config's own words when it instantiates a node."""


def _is_first_process() -> bool:
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
    to_file, to_terminal = logging.FileHandler(path), _ToTerminal()
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    to_terminal.setFormatter(logging.Formatter("%(message)s"))
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


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does; both handlers are as before afterwards, for the next job of a sweep."""

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's chatter out of the terminal: what it says about devices and folders stands in the record."""
    chatty = logging.getLogger("pytorch_lightning")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*treespec",
            ".*sync_dist=True",
            "Checkpoint directory",
            ".*does not have many workers",
            ".*number of training batches",
            ".*Detected call of `lr_scheduler.step",
            ".*in eval mode at the start of training",
            "GPU available but",
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        finally:
            chatty.setLevel(level)


def _print_summary(record: RunRecord, metrics: dict[str, Any]) -> None:
    table = Table(title=f"best epoch {metrics['best_epoch']}, by val {metrics['objective']['metric']}")
    table.add_column("")
    splits = list(dict.fromkeys(("val", metrics["eval_split"])))
    for split in splits:
        table.add_column(f"{split} (n = {metrics[split]['n']})", justify="right")
    report = REPORTS[metrics["task"]]
    for title, name in report.terminal_rows:
        table.add_row(title, *(_number(metrics[split][name]) for split in splits))
    title, score = report.class_score
    for name in metrics[splits[0]]["per_class"]:
        table.add_row(f"{title} {name}", *(_number(metrics[split]["per_class"][name][score]) for split in splits))
    Console().print(table)
    print(record.path)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

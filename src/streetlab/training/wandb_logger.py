"""`logger=wandb`: log a job's run to Weights & Biases, from its start to its exit code.

The record stays the source of truth. What W&B shows is a copy of it, and neither a missing key nor a missing
network stops a training: the run is then kept offline, in its record, until `wandb sync`.
"""

from __future__ import annotations

import logging
import netrc
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities import rank_zero_only

from streetlab.config.resolvers import swept_words
from streetlab.errors import UserError, did_you_mean
from streetlab.records.record import RunRecord
from streetlab.sweeps.pruning import PRUNED
from streetlab.training.loggers import RecordLogger
from streetlab.training.rendezvous import is_first

log = logging.getLogger(__name__)

MODES = ("online", "offline", "disabled")
STEP = "trainer/global_step"
"""Lightning's own name for the x axis; W&B's counter `_step` counts calls."""

_FOLDERS = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
_CONNECT_SECONDS = 30.0
_UPLOAD_SECONDS = 600.0
_LONGEST_NAME = 128


class RunWandbLogger(WandbLogger):
    """Logs the values of metrics.csv, under the same epoch, step and phase.

    An epoch's numbers come in two history rows, as Lightning hands them over (first val's, then train's), which
    share epoch and step.

    Args:
        run: a W&B run.
        record_logger: writes metrics.csv; it comes before this one in the Trainer's list.
        photos: how many photos of val `wandb_results.log_results` shows.
        keep_model: whether it keeps best.ckpt as an artifact.
    """

    def __init__(self, run: Any, record_logger: RecordLogger, photos: int, keep_model: bool) -> None:
        record = record_logger.record
        super().__init__(experiment=run, project=run.project, id=run.id, save_dir=str(record.path))
        self.photos, self.keep_model = photos, keep_model
        self._record_logger = record_logger
        self._best = record.config["task"]["objective"]["mode"]
        self._defined: set[str] = set()
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        if not run.resumed:  # the server, where it knows the run, has the epochs before the interruption
            for row in record_logger.rows:
                self._log_row(row)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._record_logger.enabled:
            row = self._record_logger.rows[-1]
            self._log_row({**metrics, **{key: row[key] for key in ("epoch", "step", "phase")}})

    def _log_row(self, row: Mapping[str, Any]) -> None:
        for name in row:
            # by name: of two patterns that match, W&B takes the first
            if name.startswith("val/") and name not in self._defined:
                self._defined.add(name)
                self.experiment.define_metric(
                    name, step_metric=STEP, summary="min" if name == "val/loss" else self._best
                )
        self.experiment.log({STEP if name == "step" else name: value for name, value in row.items()})


def wandb_logger(
    record_logger: RecordLogger,
    project: str = "streetlab",
    entity: str | None = None,
    mode: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    photos: int = 8,
    log_model: bool = True,
) -> Logger:
    """Start the run of this job, all of its files under `wandb/` in the record; only in the first process.

    Its group is the sweep's folder, its job type the task, its name the words that the sweep varies (of a single
    run the record's name), its config the resolved config and, under `record`, path, hashes and commit. The id
    stands in status.json, so that a resumed run goes on under it.

    Args:
        record_logger: the logger of the run's record, with the epochs that stand already.
        mode: `online`, `offline`, `disabled`; null chooses WANDB_MODE, else online with a key, else offline.
        tags: besides task, data set, network and preset.
        photos: how many photos of val are shown with what the best epoch says of them.
        log_model: keep best.ckpt as an artifact.

    Raises:
        UserError: an unknown mode, online without a key, or a value that W&B refuses.
    """
    if not is_first():
        return DummyLogger()
    if photos < 0:
        raise UserError(f"logger.wandb.photos: {photos} is below 0")
    if isinstance(tags, str):
        raise UserError(f"logger.wandb.tags: '{tags}' is no list; write [{tags}]")
    record = record_logger.record
    folder = record.path.resolve()
    chosen, reason = _choose_mode(mode)
    config, status = record.config, record.status
    choices = status.get("choices") or {}
    group = _sweep()
    name = " ".join(swept_words()) if group else record.name
    run_id = _run_id(status, group)
    record.write_status(wandb_id=run_id)
    presets = [choices.get(name) for name in ("dataset", "model", "experiment")]
    facts = {key: status.get(key) for key in ("config_hash", "split_hash", "data_hash", "git")}
    about = {
        "project": project,
        "entity": entity,
        "id": run_id,
        "resume": "allow",
        "dir": str(folder),
        "group": group,
        "job_type": choices.get("task"),
        "name": name[:_LONGEST_NAME],
        "tags": list(dict.fromkeys([str(tag) for tag in (choices.get("task"), *presets, *tags) if tag])),
        "notes": notes,
        "config": config | {"record": {"path": str(folder)} | facts},
    }
    _keep_files_in(folder / "wandb")
    run = _start(chosen, reason, about, (status.get("git") or {}).get("commit"))
    return RunWandbLogger(run, record_logger, photos, log_model)


@contextmanager
def one_run(record: RunRecord) -> Iterator[None]:
    """End the W&B run that a job starts inside, if it starts one: finished or failed, as the job's record says.

    W&B's service and its environment variables go with it, so that the next job of this process begins anew.
    """
    before = _environment()
    try:
        yield
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None:
            try:
                _finish(wandb, record)
            finally:
                for name in _environment():
                    del os.environ[name]
                os.environ.update(before)


def _finish(wandb: Any, record: RunRecord) -> None:
    run = wandb.run
    status = record.status
    as_intended = status.get("state") in ("completed", PRUNED)
    try:
        if run is not None:
            run.summary.update({key: status[key] for key in ("state", "error") if status.get(key)})
            run.finish(exit_code=int(not as_intended))
    except (TimeoutError, wandb.Error) as error:
        log.warning("Weights & Biases: %s; upload with: wandb sync %s", _line(error), run.settings.sync_dir)
    finally:
        wandb.teardown(exit_code=int(not as_intended))


def _start(mode: str, reason: str, about: dict[str, Any], commit: str | None) -> Any:
    """`wandb.init`; offline where the server does not answer."""
    try:
        import wandb
    except ModuleNotFoundError:
        raise UserError("logger=wandb: not installed (pip install wandb)") from None

    def begin(mode: str) -> Any:
        # git: of the code that trains, which provenance has found, and not of the folder that we stand in
        settings = wandb.Settings(
            mode=mode,  # type: ignore[arg-type]
            silent=True, disable_git=True, git_commit=commit,
            init_timeout=_CONNECT_SECONDS, finish_timeout=_UPLOAD_SECONDS, finish_timeout_raises=True,
        )  # fmt: skip
        return wandb.init(**about, reinit="finish_previous", settings=settings)

    if mode == "online":
        try:
            run = begin("online")
            log.info("Weights & Biases: %s", run.url)
            return run
        except wandb.Error as error:
            wandb.teardown()
            mode, reason = "offline", _line(error)
    try:
        run = begin(mode)
    except (wandb.Error, ValueError) as error:
        wandb.teardown()
        raise UserError(f"logger.wandb: {_line(error)}") from None
    if mode == "offline":
        log.info("Weights & Biases: offline (%s); upload with: wandb sync %s", reason, run.settings.sync_dir)
    return run


def _choose_mode(mode: str | None) -> tuple[str, str]:
    """The mode, and why it is offline where nobody asked for that."""
    asked = mode or os.environ.get("WANDB_MODE")
    if asked is None:
        return ("online", "") if _has_key() else ("offline", "no key")
    if asked not in MODES:
        key = "logger.wandb.mode" if mode else "WANDB_MODE"
        raise UserError(f"{key}: '{asked}' is not one of {', '.join(MODES)}{did_you_mean(asked, MODES)}")
    if asked == "online" and not _has_key():
        raise UserError(
            "logger.wandb.mode: online, but there is no key (`wandb login`, WANDB_API_KEY, or mode=offline)"
        )
    return asked, "as asked"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(server).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _sweep() -> str | None:
    """The name of the sweep's folder; None for a run of its own."""
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


def _run_id(status: Mapping[str, Any], group: str | None) -> str:
    # an agent of W&B's own sweeps gives the id; to the jobs of one of ours it would give all the same
    given = os.environ.get("WANDB_RUN_ID") if group is None else None
    return given or status.get("wandb_id") or secrets.token_hex(4)


def _keep_files_in(folder: Path) -> None:
    os.environ.update({name: str(folder / child) for name, child in _FOLDERS.items()})


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())

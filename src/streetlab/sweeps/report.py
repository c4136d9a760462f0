"""Report a sweep's progress: the number of jobs, a summary after each one, at the end the incomplete ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from streetlab.config.run_names import config_hash
from streetlab.config.sweeps import plan_sweep
from streetlab.config.values import plain
from streetlab.errors import UserError
from streetlab.process_rank import process_rank
from streetlab.records.identity import recorded_hash
from streetlab.records.process_status import writer
from streetlab.records.record import RunRecord, now
from streetlab.sweeps.outcome import current_outcome
from streetlab.sweeps.pruning import PRUNED
from streetlab.sweeps.summary import in_words, write_summary


@dataclass(frozen=True)
class Sweep:
    """A sweep started by this process."""

    folder: Path
    started: str

    def close(self) -> dict[str, str]:
        """Rewrite the summary a last time and print its path.

        Returns:
            a line for each job of this call that neither completed nor was pruned, by its folder's name.
        """
        rows = write_summary(self.folder) if self.folder.is_dir() else []  # not there: no job has begun
        if rows:
            print(f"{in_words(rows)}; {self.folder / 'summary.html'}", flush=True)
        return {
            row["run"]: f"{row['run']}: {row['error'] or row['state']}"
            for row in rows
            if row["state"] not in ("completed", PRUNED) and (row["started"] or "") >= self.started
        }


class SweepReport(Callback):
    """Hydra's callback: announces the jobs, and rewrites the sweep's summary after each one, in whatever process."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            plan = plan_sweep(config)
            folder = Path(config.hydra.sweep.dir)
        except Exception:  # Hydra makes it a warning; naming the sweep's folder meets it again, and it is said then
            return
        current_outcome().close_sweep = Sweep(folder, now()).close
        print(f"{plan}; {folder}", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN and process_rank().rank == 0:
            write_summary(Path(config.hydra.sweep.dir))


def record_failure(
    folder: Path, config: DictConfig, overrides: Sequence[str], error: BaseException, started: str
) -> None:
    """Write a record of a job that failed before it had opened its own; none where it had, or could not.

    Args:
        folder: the job's.
        config: the job's, without Hydra's node.
        overrides: the words that made it.
        started: when the job began, as `record.now` says it.
    """
    record = RunRecord(folder)
    with suppress(UserError):  # the error itself has been said; there is no place to keep it
        if not _is_this_jobs_to_write(record, config, started):
            return
        record.write_config(plain(config), overrides)
        record.write_end("failed", error, started=started)


def _is_this_jobs_to_write(record: RunRecord, config: DictConfig, started: str) -> bool:
    """Check that the folder is empty, or left by an earlier call of the same job, with nothing trained."""
    if not (record.path / "config.yaml").exists():
        return not record.path.exists() or not any(record.path.iterdir())
    status = record.status
    trained = (record.checkpoints / "last.ckpt").exists()
    over = status.get("state") == "completed" or trained or writer(record) is not None
    said = str(status.get("started") or "") >= started
    return not over and not said and recorded_hash(record) == config_hash(config)

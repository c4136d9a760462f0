"""The session of one training: its record's status, its log, its signals and its W&B run, from start to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streetlab.checkpoints.write import retire
from streetlab.config.run_names import config_hash
from streetlab.errors import was_interrupted
from streetlab.io.files import clear_unfinished
from streetlab.records.identity import Identity
from streetlab.records.record import RunRecord, now
from streetlab.sweeps.pruning import PRUNED, TrialPruned
from streetlab.training.interruption import ends_as_ctrl_c, exit_as_ctrl_c, waits_for_the_first
from streetlab.training.provenance import provenance
from streetlab.training.rendezvous import followed, is_first
from streetlab.training.run_log import RunLog
from streetlab.training.wandb_logger import one_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSession:
    """One run's training into a record that was opened.

    Attributes:
        record: the run's.
        checkpoint: to go on from; None begins anew.
        identity: what tells the run from others; holds its resolved config.
        run_log: its lines so far, which go to train.log.
        overrides: the run was asked for with.
        choices: from the config groups.
    """

    record: RunRecord
    checkpoint: Path | None
    identity: Identity
    run_log: RunLog
    overrides: Sequence[str]
    choices: Mapping[str, str]

    @property
    def config(self) -> dict[str, Any]:
        """The run's config, resolved to plain Python."""
        return dict(self.identity.config)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Begin the record, and write into it how the block ended: completed, interrupted, pruned or failed.

        A trial that its search gives up is no failure: its TrialPruned ends here. Only the first process writes; the
        others leave the record and signals to it.
        """
        if not is_first():
            with waits_for_the_first(), exit_as_ctrl_c(), suppress(TrialPruned):
                yield
            return
        began = time.perf_counter()
        self._begin()
        with followed((self.record, self.checkpoint)), ends_as_ctrl_c(), one_run(self.record):
            try:
                with exit_as_ctrl_c():
                    yield
            except TrialPruned as pruned:
                self.record.write_end(PRUNED, str(pruned))
                log.info("pruned: %s", pruned)
                return
            except BaseException as error:
                self._write_failure(error)
                raise
            self.record.write_end("completed", seconds=round(time.perf_counter() - began, 3))
            retire(self.record.checkpoints)

    def _begin(self) -> None:
        clear_unfinished(self.record.path)
        self.record.write_config(self.config, self.overrides)
        self.record.write_status(
            state="running", started=now(), ended=None, error=None, traceback=None,
            config_hash=config_hash(self.config), choices=self.choices, contents=self.identity.contents,
            working_directory=str(Path.cwd()), **provenance(),
        )  # fmt: skip
        self.record.write_photos(self.identity.photos)
        self.run_log.write_to(self.record.path / "train.log")

    def _write_failure(self, error: BaseException) -> None:
        if was_interrupted(error):
            self.record.write_end("interrupted", "the same command goes on from the last complete epoch")
            log.error("interrupted")
        else:
            # as text: a handler that keeps log entries would keep the error's frames, and with them the network
            log.error("failed: %s", self.record.write_end("failed", error)["traceback"] or error)

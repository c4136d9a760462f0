"""Log values to metrics.csv in every run's folder, and to TensorBoard on request."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from streetlab.errors import UserError
from streetlab.io.files import write_csv
from streetlab.records.record import RunRecord

_FIRST = ("epoch", "step", "phase")


class RecordLogger(Logger):
    """metrics.csv: one row per epoch and step, one column per logged name; epochs count from 1.

    The file is rewritten whole at each epoch's end, so a killed run leaves complete epochs and nothing else.
    On resume the rows of the epochs that will run again are dropped.

    Args:
        record: the run's.
        phase: name of the phase that trains now.
        keep_epochs: how many epochs of an earlier process stand.

    Attributes:
        rows: what the file holds, a row per epoch and step.
        enabled: set to False once the training is over: the best epoch's evaluation is no epoch.
    """

    def __init__(self, record: RunRecord, phase: Callable[[], str], keep_epochs: int = 0) -> None:
        super().__init__()
        self.record = record
        self.path = record.path / "metrics.csv"
        self._phase = phase
        self.rows: list[dict[str, Any]] = []
        if keep_epochs and self.path.exists():
            self.rows = [
                {name: value for name, value in row.items() if value is not None}
                for row in record.history()
                if int(row["epoch"] or 0) <= keep_epochs
            ]
        self.enabled = True

    @property
    def name(self) -> str:
        return "record"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The config stands in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if not self.enabled:
            return
        values = dict(metrics)
        epoch = int(values.pop("epoch", 0)) + 1
        row: dict[str, Any] = self.rows[-1] if self.rows else {"epoch": 0, "step": 0}
        # Lightning counts the end of an epoch as one step less than its validation
        if row["epoch"] != epoch or abs(row["step"] - int(step or 0)) > 1:
            row = {"epoch": epoch, "step": int(step or 0), "phase": self._phase()}
            self.rows.append(row)
        row.update(values)

    @rank_zero_only
    def save(self) -> None:
        columns = {name: None for row in self.rows for name in row if name not in _FIRST}
        write_csv(self.path, self.rows, [*_FIRST, *columns])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status == "success" and self.rows:
            self.save()


def tensorboard(record_logger: RecordLogger) -> Logger:
    """TensorBoard event files under the run's `tensorboard/`.

    Raises:
        UserError: the package is not installed.
    """
    from pytorch_lightning.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(
            save_dir=record_logger.record.path, name="tensorboard", version="", default_hp_metric=False
        )
    except ModuleNotFoundError:
        raise UserError("logger=tensorboard: not installed (pip install 'streetlab[tensorboard]')") from None

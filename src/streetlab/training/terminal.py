"""Terminal output of an evaluation, and filters for Lightning's messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from streetlab.datasets.scan import SPLITS
from streetlab.io.filenames import one_line
from streetlab.metrics.catalogue import added_metrics
from streetlab.records.record import RunRecord
from streetlab.training.evaluate_splits import REPORTS
from streetlab.training.report import number_text


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages about devices and folders: the record holds both."""
    chatty = logging.getLogger("pytorch_lightning")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*treespec",
            ".*sync_dist=True",
            "Checkpoint directory",
            ".*does not have many workers",
            "This DataLoader will create",
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


def print_summary(record: RunRecord, metrics: dict[str, Any], title: str) -> None:
    """Show the numbers of every split that was tested, and the record's path in the last line."""
    table = Table(title=title)
    table.add_column("")
    splits = [split for split in SPLITS if split in metrics]
    for split in splits:
        table.add_column(f"{split} (n = {metrics[split]['n']})", justify="right")
    report = REPORTS[metrics["task"]]
    texts = [report.terminal_texts(metrics[split]) for split in splits]
    for title in dict.fromkeys(title for column in texts for title in column):
        table.add_row(title, *(column.get(title, "–") for column in texts))
    for name in added_metrics(record.config):
        table.add_row(name, *(number_text(metrics[split].get(name)) for split in splits))
    score, word = report.spec.class_score
    for name in metrics[splits[0]]["per_class"]:
        table.add_row(f"{word} {name}", *(number_text(metrics[split]["per_class"][name][score]) for split in splits))
    Console().print(table)
    print(one_line(str(record.path)))

"""Write compression.json and compression.md into the new record, and print the summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.markdown import plain, table
from streetlab.records.record import RunRecord

REPORT = "compression.json"
_NOTE = (
    "Latency is measured: one image in eager PyTorch, the two networks in turn. Fewer channels are less arithmetic, "
    "but no fewer kernels to launch: where launching them is what takes the time, as for one small image on a GPU, a "
    "pruned network is hardly faster."
)
_STAGES = {"before": "before", "pruned": "pruned", "tuned": "trained on"}
Rows = list[list[str]]


def read_report(record: RunRecord) -> dict[str, Any]:
    """compression.json.

    Raises:
        UserError: it is damaged.
    """
    path = record.path / REPORT
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise UserError(f"{path}: damaged, not JSON; delete {record.path} to begin anew") from None


def write_report(record: RunRecord, report: dict[str, Any]) -> None:
    """Write compression.json, and compression.md once the network has been trained on."""
    files.write_json(record.path / REPORT, report)
    if "tuned" not in report["quality"]:
        return
    asked = report["compressed"]
    lines = [
        f"# {plain(record.name)}",
        "",
        f"{plain(asked['run'])}, epoch {asked['epoch']}: {_how(report)}",
        "",
        *table(*cost_rows(report)),
        "",
        *table(*quality_rows(report)),
        "",
        _NOTE,
        "",
    ]
    files.write_text(record.path / "compression.md", "\n".join(lines))


def print_report(report: dict[str, Any]) -> None:
    """Show both tables."""
    console = Console()
    for title, (headers, rows) in ((_how(report), cost_rows(report)), ("quality", quality_rows(report))):
        shown = Table(title=title)
        for number, header in enumerate(headers):
            shown.add_column(header, justify="right" if number else "left")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    console.print(_NOTE, highlight=False)


def cost_rows(report: dict[str, Any]) -> tuple[Sequence[str], Rows]:
    """Headers and rows: the network's cost before and after, and the quotient."""
    height, width = report["image_size"]
    threads = f", {report['threads']} threads" if report["device"] == "cpu" else ""
    where = f"ms at {height}×{width}, {report['device']}{threads}"
    rows = []
    for title, keys, unit, form in (
        ("parameters, M", ("parameters",), 1e6, ".3f"),
        ("GMACs", ("gmacs",), 1, ".3f"),
        ("checkpoint, MB", ("checkpoint_bytes",), 1e6, ".2f"),
        (f"latency p50, {where}", ("latency_ms", "p50"), 1, ".2f"),
        (f"latency p95, {where}", ("latency_ms", "p95"), 1, ".2f"),
    ):
        before, after = _value(report["before"], keys), _value(report["after"], keys)
        rows.append([title, f"{before / unit:{form}}", f"{after / unit:{form}}", f"{before / after:.2f}×"])
    return ("", "before", "after", "before / after"), rows


def quality_rows(report: dict[str, Any]) -> tuple[Sequence[str], Rows]:
    """Headers and rows: each split's numbers before, right after pruning, and trained on."""
    quality = report["quality"]
    rows = [
        [f"{split} {name} (n = {before['n']})", *(f"{quality[stage][split][name]:.4f}" for stage in _STAGES)]
        for split, before in quality["before"].items()
        for name in (*report["metrics"], "loss")
    ]
    return ("", *_STAGES.values()), rows


def _how(report: dict[str, Any]) -> str:
    asked = report["compressed"]
    trained = f"{asked['epochs']} epochs" if asked["epochs"] else "not trained on"
    taught = ", taught by the run" if asked["distil"] and asked["epochs"] else ""
    return (
        f"{asked['ratio']:.0%} of the channels pruned ({asked['importance']}, {asked['scope']}) in {report['layers']} "
        f"layers, {trained}{taught}"
    )


def _value(numbers: dict[str, Any], keys: Sequence[str]) -> float:
    for key in keys:
        numbers = numbers[key]
    return float(numbers)  # type: ignore[arg-type]

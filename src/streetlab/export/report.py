"""Report an export as JSON, as Markdown and in the terminal, with warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from streetlab.export.options import Options
from streetlab.export.quality import JUDGED_BY
from streetlab.io import files
from streetlab.io.markdown import table

AGREEING = 0.999
"""The share of pixels or labels that file and network have to agree on, where the precision is the same."""
_MOST_LOST = 0.01
"""One point."""

Row = tuple[str, str, str]
"""A title, and what it is of the network in PyTorch and of the file."""


def write_report(options: Options, report: Mapping[str, Any]) -> None:
    """Write both files beside the model."""
    lines = [f"# {report['run']} as {report['file']}", "", f"Checkpoint {report['sha256'][:12]}, {_epoch(report)}.", ""]
    lines += [*table(("", *_columns(report)), _rows(report)), "", agreement_line(report)]
    lines += [line for line in (_skipped(report),) if line]
    lines += [f"**{line}**" for line in warnings(report)]
    files.write_text(options.report(".md"), "\n".join(lines) + "\n")
    files.write_json(options.report(".json"), report)


def print_report(report: Mapping[str, Any]) -> None:
    """Show the table in the terminal, and in a line each what else there is to say."""
    shown = Table(title=f"{report['run']}, {_epoch(report)}")
    shown.add_column("")
    for title in _columns(report):
        shown.add_column(title, justify="right")
    for row in _rows(report):
        shown.add_row(*row)
    Console().print(shown)
    for line in (agreement_line(report), _skipped(report)):
        if line:
            print(line)


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Warnings that a user of the file should read first, a line each."""
    found, agreement, quality = [], report["agreement"], report["quality"]
    if report.get("other_photos"):
        found.append(report["other_photos"])
    if report["precision"] == "fp32" and agreement["share"] < AGREEING:
        found.append(
            f"{report['file']} agrees with PyTorch on {agreement['share']:.2%} of {agreement['of']} only, "
            f"less than {AGREEING:.1%}"
        )
    for name, lost in quality.get("lost", {}).items():
        if lost > _MOST_LOST:
            title = JUDGED_BY[report["task"]][name]
            found.append(
                f"{report['file']} loses {100 * lost:.1f} points of {title} on {quality['split']}"
                + _remedy(report["precision"])
            )
    return found


def agreement_line(report: Mapping[str, Any]) -> str:
    """Say how far file and network agree, and over how many inputs."""
    agreement = report["agreement"]
    sizes = ", ".join(f"{height}x{width}" for height, width in agreement["sizes"])
    batches = ", ".join(map(str, agreement["batches"]))
    return (
        f"The same class for {agreement['share']:.4%} of {agreement['compared']:,} {agreement['of']} (images of "
        f"{sizes}; {batches} at once); logits differ by up to {agreement['largest_logit_difference']:.2g}."
    )


def _columns(report: Mapping[str, Any]) -> tuple[str, str]:
    return "PyTorch fp32", report["file"]


def _rows(report: Mapping[str, Any]) -> list[Row]:
    quality, latency, size = report["quality"], report["latency"], report["bytes"]
    rows = []
    if "lost" in quality:
        for name, title in JUDGED_BY[report["task"]].items():
            before, after = (f"{quality[side][name]:.4f}" for side in ("pytorch", "exported"))
            rows.append((f"{title}, {quality['split']} (n = {quality['n']})", before, after))
    height, width = latency["image_size"]
    what = f"{height}x{width}, {latency['threads']} thread{'s' * (latency['threads'] > 1)}"
    for key, title in (("p50_ms", f"ms per image of {what}"), ("p95_ms", "95th percentile")):
        before, after = (f"{latency[side][key]:.1f}" for side in ("pytorch", "exported"))
        rows.append((title, before, f"{after} ({latency['ratio']:.1f}×)" if key == "p50_ms" else after))
    rows.append(("MB", f"{size['weights'] / 1e6:.1f}", f"{size['file'] / 1e6:.1f}"))
    return rows


def _skipped(report: Mapping[str, Any]) -> str:
    reason = report["quality"].get("skipped")
    return f"Quality was not compared: {reason}." if reason else ""


def _epoch(report: Mapping[str, Any]) -> str:
    return f"epoch {report['epoch']}"


def _remedy(precision: str) -> str:
    return "; more images of calibration= may help, or precision=fp32" if precision == "int8" else ""

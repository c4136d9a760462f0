"""What `streetlab export` is asked for, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from streetlab.config import plain
from streetlab.data.index.scan import SPLITS
from streetlab.errors import UserError, did_you_mean
from streetlab.inference.export_metadata import ONNX, TORCH, report_of
from streetlab.runs.chosen import chosen_run
from streetlab.runs.record import RunRecord

SUFFIXES = {"onnx": ONNX, "torch": TORCH}
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Options:
    """The keys of conf/export.yaml, which says what each is for.

    Attributes:
        run: never written to, but for the folder `export` in it.
        split: as it was typed.
        output: the folder.
    """

    run: RunRecord
    checkpoint: str
    format: str
    precision: str
    calibration: int
    evaluate: bool
    split: str | None
    output: Path

    @property
    def file(self) -> Path:
        """The exported model."""
        return self.output / f"model_{self.precision}{SUFFIXES[self.format]}"

    def report(self, suffix: str) -> Path:
        """The report on it, as `.json` or `.md`."""
        return report_of(self.file, suffix)


def read_options(cfg: DictConfig) -> Options:
    """The command's config as options.

    Raises:
        UserError: a value that its key does not take, two that do not go together, or no such run.
    """
    config: dict[str, Any] = plain(cfg)
    _check_choice("format", config["format"], tuple(SUFFIXES))
    _check_choice("precision", config["precision"], PRECISIONS)
    if config["format"] == "torch" and config["precision"] != "fp32":
        raise UserError(f"precision: '{config['precision']}' is for format=onnx; format=torch is written in fp32")
    count = config["calibration"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"calibration: '{count}' is not a whole number of 1 or more images")
    if not isinstance(config["evaluate"], bool):
        raise UserError(f"evaluate: '{config['evaluate']}' is not true or false")
    if config["split"] is not None:
        _check_choice("split", config["split"], SPLITS, " or null, for the one that the run reports")
    run = chosen_run(str(config["run"]))
    output = Path(str(config["output"])).expanduser() if config["output"] else run.path / "export"
    if output.exists() and not output.is_dir():
        raise UserError(f"output: {output} is a file; give a folder with output=DIR")
    return Options(
        run=run,
        output=output,
        checkpoint=str(config["checkpoint"]),
        **{key: config[key] for key in ("format", "precision", "calibration", "evaluate", "split")},
    )


def _check_choice(key: str, value: Any, allowed: Sequence[str], also: str = "") -> None:
    if value not in allowed:
        near = did_you_mean(str(value), allowed)
        raise UserError(f"{key}: '{value}' is not one of {', '.join(allowed)}{also}{near}")
